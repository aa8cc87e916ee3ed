"""Secrets and control characters, hidden by one function each."""

from __future__ import annotations

import json

import pytest

from flowctx.core.batches.launcher import ENGINES
from flowctx.core.batches.records import PartitionState
from flowctx.core.durability.records import CaptureState, RunStatus
from flowctx.core.masking import OWN_WORDS, is_secret_name, mask_data, mask_text, secret_values
from flowctx.core.printable import brief, printable, well_formed
from flowctx.core.workflow.result import StepStatus

SECRET = "hunter2-Ω"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://me:{SECRET}@db/x",
        f"postgresql://me:a@b/c:{SECRET}@db/x",
        f"postgresql+psycopg://me:{SECRET}@[::1",
        f"https://{SECRET}@git.example/x",
        f"http://h/x?access_token={SECRET}&y=1",
        f"postgresql:///db?user=x&password={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f'{{"db_password": "{SECRET}"}}',
        f"{{'db_password': '{SECRET}', 'b': 1}}",
        f"connect(host='x', password='{SECRET}')",
        f"host=x password={SECRET} dbname=y",
        f"API_KEY: {SECRET}",
        f"dbPassword={SECRET}",
        f"password = b'{SECRET}'",
        f"password=u'{SECRET}'",
        f'token=Rb"a {SECRET}"',
        f"token='{SECRET}\\",
        f'token=("{SECRET}\\',
        f"token='{SECRET}\\\n more'",
        f"InvalidTokenError: {SECRET}",
        f"InvalidTokenError: {SECRET} has expired",
        f"InvalidTokenError={SECRET} has expired",
        f"InvalidTokenError: token: {SECRET}",
        f"InvalidTokenError: bad token: {SECRET} has expired",
        f"InvalidTokenError: '{SECRET}' is no token",
        f"token: {SECRET} has expired",
        f"sent Authorization: Token {SECRET}",
        f"{{'Authorization': 'Digest {SECRET}'}}",
        f"{{'tokens': ['a', '{SECRET}'], 'limit': 3}}",
        f"credentials={{'user': 'me', 'more': [{{'key': ('x]', '{SECRET}')}}]}}",
        f"tokens = [[[[[[['{SECRET}']]]]]]]",
        f'"credentials": {{"user": "me", "key": "{SECRET}',
        json.dumps({"body": json.dumps({"token": SECRET})}),
        repr(json.dumps({"body": json.dumps({"more": json.dumps({"token": f'a"{SECRET}'})})})),
        json.dumps({"token": SECRET}).replace('"', '\\"')[:-4],
        f"Conn(host='x', password=SecretStr('{SECRET}'))",
        f"password=pkg.Secret(value=['a', '{SECRET}'], n=1)",
        f"token=Secret('{SECRET}",
        f"private_key=-----BEGIN RSA PRIVATE KEY-----\nMIIE {SECRET}\n-----END RSA PRIVATE KEY-----",
        f"the key\n-----BEGIN PRIVATE KEY-----\nMIIE\n{SECRET}\n",
        "Basic bWU6aHVudGVyMi3OqQ==",
        "sent bearer QwErTyUiOp",
        "sent Bearer abcdefghijklmnop",
    ],
)
def test_a_secret_beside_its_name_or_in_a_url_is_hidden(text):
    """A value under a secret name, in a URL's user part or query, in JSON, Python or settings, is not shown."""
    masked = mask_text(text)
    assert SECRET not in masked
    assert "***" in masked


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://me@db/x is away",
        "step 'load': KeyError: 'price'",
        "http://127.0.0.1:8080/dags/prices",
        "date=2026-01-09|tier=OTC",
        "capture c1 is no longer held with token 3: its lease ran out",
        "password=None",
        "NoCredentialsError: Unable to locate credentials",
        "InvalidTokenError: Unable to parse row 17",
        "botocore.exceptions.TokenRetrievalError: Error when retrieving token from sso",
        "step 'load': ProxyError: Cannot connect to proxy.",
        "CookieWarning : Sorry, it is stale",
        "Basic Materials and basic resources, bearer shares and certificates",
        "tokens: [], credentials={}",
    ],
)
def test_what_is_no_secret_stays(text):
    """URLs without a password, partition keys and plain messages are shown as they are."""
    assert mask_text(text) == text


def test_lists_and_dicts_of_secrets_are_hidden_whole():
    """What stands behind them is shown."""
    text = "{'tokens': ['a', 'b'], 'credentials': {'user': 'me', 'keys': ['c']}, 'limit': 3} refused"
    assert mask_text(text) == "{'tokens': ***, 'credentials': ***, 'limit': 3} refused"


def test_what_stands_behind_a_secret_is_shown():
    """Of JSON in JSON, what is called with a secret, and a private key, no more is hidden than has to be."""
    text = json.dumps({"body": json.dumps({"token": 'a"b\\c', "limit": 3})})
    assert json.loads(json.loads(mask_text(text))["body"]) == {"token": "***", "limit": 3}
    assert mask_text("Conn(password=Secret('a)', 1), limit=3) refused") == "Conn(password=***, limit=3) refused"
    for prefix in ("b", "u", "f", "Rb"):
        assert mask_text(f"password={prefix}'a b', limit=3") == f"password={prefix}'***', limit=3"
    key = "-----BEGIN EC PRIVATE KEY-----\\nMIIE\\n-----END EC PRIVATE KEY-----"
    assert mask_text(f"key {key}, limit=3") == "key ***, limit=3"


def test_known_values_are_hidden_wherever_they_stand():
    """A value that is known to be secret is hidden in free text, as it is, quoted, escaped or percent-encoded."""
    secret = "p\u00e4ss'w\u00f6rd\n1"
    text = f"raw {secret}, repr {secret!r}, url p%C3%A4ss%27w%C3%B6rd%0A1"
    masked = mask_text(text, [secret])
    assert "rd" not in masked.replace("repr", "")


def test_secrets_of_the_environment_are_hidden(monkeypatch):
    """A token that an engine is called with is hidden in any message, its stray newline too."""
    monkeypatch.setenv("FLOWCTX_AIRFLOW_TOKEN", "abcdef123456\n")
    assert mask_text("Invalid header value b'Bearer abcdef123456\\n'") == "Invalid header value b'Bearer ***\\n'"
    assert mask_text("it said abcdef123456!") == "it said ***!"


def test_words_of_our_own_are_no_secrets(monkeypatch):
    """A password that is a word which flowctx writes itself is hidden beside its name alone."""
    monkeypatch.setenv("FLOWCTX_AIRFLOW_PASSWORD", "airflow")
    assert mask_text("on airflow: airflow:airflow@h, x://u:airflow@h, password=airflow") == (
        "on airflow: airflow:airflow@h, x://u:***@h, password=***"
    )
    for kind in (PartitionState, RunStatus, CaptureState, StepStatus):
        assert {str(one) for one in kind if len(one) > 3} <= OWN_WORDS
    assert set(ENGINES) <= OWN_WORDS


def test_names_of_data_stay_where_they_are_words(monkeypatch):
    """A secret of the environment renames no field; a name that may be a value is hidden."""
    monkeypatch.setenv("FLOWCTX_AIRFLOW_PASSWORD", "capture_id")
    monkeypatch.setenv("FLOWCTX_AIRFLOW_TOKEN", "abcdef123456")
    assert mask_data({"capture_id": "capture_id", "abcdef123456": 1}) == {"capture_id": "***", "***": 1}


@pytest.mark.parametrize(
    "value",
    ["2026", "2026-01", "2026-01-05", "2026-W02", "2026-Q1", "2026-01-05T17:00:00+01:00", "2026-01-05 17:00", "none"],
)
def test_times_are_hidden_beside_their_name_alone(value):
    """A date under a secret name takes no other date away."""
    data = {"token_date": value, "note": f"nothing of {value}"}
    assert mask_data(data) == {"token_date": "***", "note": f"nothing of {value}"}


@pytest.mark.parametrize("key", ["date=2026-01-05|fund=GROWTH", {"date": "2026-01-05", "fund": "GROWTH"}])
def test_values_of_a_partition_key_are_no_secrets(key):
    """A secret that equals a value of the run's key is hidden beside its name alone, others everywhere."""
    data = {"partition": key, "proxy_fund": "GROWTH", "token": "hunter2", "error": "GROWTH: hunter2 refused"}
    assert mask_data(data) == {**data, "proxy_fund": "***", "token": "***", "error": "GROWTH: *** refused"}


def test_names_can_be_added(monkeypatch):
    """FLOWCTX_SECRET_NAMES and Airflow's own setting add to the names."""
    assert not is_secret_name("pin_code")
    monkeypatch.setenv("FLOWCTX_SECRET_NAMES", "pin, Sort-Code")
    assert is_secret_name("PIN_code")
    assert is_secret_name("sort_code")
    assert mask_text("pin=12345") == "pin=***"


def test_data_is_masked_by_names_and_by_values():
    """Values of secret names are hidden however deep, and the same values elsewhere in the data."""
    data = {"db": {"password": "hunter2", "url": "x://u:p@h"}, "note": "log in with hunter2", "n": [1, None, True]}
    assert mask_data(data) == {"db": {"password": "***", "url": "x://u:***@h"}, "note": "log in with ***",
                               "n": [1, None, True]}  # fmt: skip
    assert secret_values(data) == {"hunter2"}


def test_long_texts_are_masked_in_linear_time():
    """A text of many kilobytes is masked in a moment, whatever it is made of."""
    for text in ("a", "password", "x://", "://a:@", "'", "bearer ", "token='", 'token="', "password: ", "token=u'",
                 "token='\\", 'token=\\"', '\\"token\\": \\"', "token=f(", "-----BEGIN PRIVATE KEY-----"):  # fmt: skip
        mask_text(text * 20_000)


def test_control_characters_become_escapes():
    """Escape sequences, C1 controls, carriage returns, direction marks and half surrogates cannot act on a terminal."""
    assert printable("a\x1b]0;t\x07\x9b2J\r\b\n\u202e\ud800é") == ("a\\x1b]0;t\\x07\\x9b2J\\r\\x08\\n\\u202e\\ud800é")
    assert printable("a\n\tb", lines=True) == "a\n\tb"
    assert well_formed("x\ud800\0y") == "x\\ud800\\x00y"
    assert len(brief("x" * 10**6)) == 200

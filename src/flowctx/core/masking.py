"""Hide secrets: the one function through which goes whatever is printed, logged, sent or embedded.

What is secret is told by names, those of Airflow's own list and a few more; ``FLOWCTX_SECRET_NAMES`` (and Airflow's own
``AIRFLOW__CORE__SENSITIVE_VAR_CONN_NAMES``) adds to them, separated by commas. Values of such names are hidden where
they stand beside the name, in URLs, and wherever else they appear if they are known and can be told from other words.
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any
from urllib.parse import quote

MASK = "***"

#: Airflow's own list (``DEFAULT_SENSITIVE_FIELDS``), and what else is called so; a name is secret that has one in it.
SECRET_NAMES = (
    "access_key", "access_token", "api_key", "apikey", "auth_header", "authorization", "bearer", "connection_string",
    "cookie", "credential", "dsn", "keyfile_dict", "passphrase", "passwd", "password", "private_key", "proxies",
    "proxy", "pwd", "secret", "service_account", "service_key", "signature", "token", "webhook_url",
)  # fmt: skip
_MORE_NAMES = ("FLOWCTX_SECRET_NAMES", "AIRFLOW__CORE__SENSITIVE_VAR_CONN_NAMES")

#: A shorter value is hidden only beside its name: elsewhere it may be any word.
_LEAST_KNOWN = 4
_LEAST_IN_ENVIRONMENT = 6

#: Words that flowctx writes itself, and first passwords of what it talks to: hidden only beside a secret name.
OWN_WORDS = frozenset({
    "admin", "airflow", "always", "backfill", "batch", "canceled", "capture", "changed", "complete", "dagster",
    "database", "default", "engine", "equal", "failed", "false", "flowctx", "held", "launched", "ledger", "local",
    "none", "not_ended", "not_failed", "not_run", "null", "partial", "partition", "password", "postgres", "postgresql",
    "pruned", "public", "released", "removed", "root", "running", "secret", "skipped", "sqlite", "step", "tolerated",
    "true", "waiting", "workflow",
})  # fmt: skip
#: A day, a week, a month, a quarter, a year or a time of day, as keys have them: no more a secret than a word is.
_TIME = re.compile(r"(?:19|20)\d\d(?:-(?:\d\d(?:-\d\d(?:[T ][\d:.]+(?:Z|[+-][\d:]+)?)?)?|W\d\d(?:-\d)?|Q[1-4]))?")
#: A name of JSON that can be a word: not looked at for values.
_PLAIN_NAME = re.compile(r"[a-z_]+")

#: What may hold a URL: between blanks and double quotes, which no URL has in it, be it ever so malformed.
_WORD = re.compile(r"[^\s\"]+")
#: The class of an exception before what it says, such as ``NoCredentialsError: Unable to locate credentials``: that is
#: prose, told by two words of letters alone, and no secret.
_EXCEPTION = re.compile(r"(?:Error|Exception|Warning)\s*:\s+\Z")
_PROSE = re.compile(r"[A-Za-z]+,? [A-Za-z]")
#: What HTTP's ``Authorization`` holds. "Basic Materials" and "bearer shares" are words: see :func:`_hide_credentials`.
_CREDENTIALS = re.compile(r"\b(?P<kind>bearer|basic)\s+(?P<value>[A-Za-z0-9._~+/=\-]{6,})", re.I)
#: A private key in PEM (RFC 7468), to its end.
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
)
#: So deep a list in a list is read to its end.
_DEEPEST = 4
#: A word in small letters is no token, unless it is longer than those of papers are.
_LONGEST_WORD = 12
#: The quote that a value begins with, in JSON in JSON with backslashes.
_OPENING = re.compile(r"[bfru]{0,2}(\\*[\"'])", re.I)
_KINDS = r"(?:(?:bearer|basic|token|digest|negotiate|apikey)\s+)?"


def mask_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without the secrets in it.

    Args:
        text: Any text: a message, a traceback, a URL.
        secrets: Values that are known to be secret, such as :func:`secret_values` finds; hidden wherever they stand.

    Example:
        >>> mask_text("postgresql://me:hunter2@db/x?sslpassword=abc is away")
        'postgresql://me:***@db/x?sslpassword=*** is away'
        >>> mask_text("login of hunter2 failed", ["hunter2"])
        'login of *** failed'
    """
    return text_masker(secrets)(text)


def text_masker(secrets: Iterable[str] = ()) -> Callable[[str], str]:
    """Return :func:`mask_text` for many texts: what is secret is looked up once for all of them.

    Args:
        secrets: Values that are known to be secret.
    """
    known = sorted({*secrets, *_environment()}, key=len, reverse=True)
    pairs = _pairs(secret_names())

    def mask(text: str) -> str:
        for secret in known:
            text = _hide(secret, text)
        if "://" in text and "@" in text:
            text = _WORD.sub(_without_password, text)
        if "PRIVATE KEY" in text:
            text = _PRIVATE_KEY.sub(MASK, text)
        text = _CREDENTIALS.sub(_hide_credentials, text)
        return pairs.sub(_hide_pair, text)

    return mask


def mask_data(value: Any) -> Any:
    """Return JSON-ready data in which the values of secret names are hidden, and texts are masked.

    Example:
        >>> mask_data({"db_password": "hunter2", "limit": 3, "hosts": ["a"], "tokens": ["b"]})
        {'db_password': '***', 'limit': 3, 'hosts': ['a'], 'tokens': '***'}
    """
    return data_masker(secret_values(value))(value)


def data_masker(secrets: Iterable[str] = ()) -> Callable[[Any], Any]:
    """Return :func:`mask_data` for many values: what is secret is looked up once for all of them.

    Args:
        secrets: Values that are known to be secret, such as :func:`secret_values` finds.
    """
    words = secret_names()
    # Names, and most texts of many rows, come again and again.
    mask = lru_cache(maxsize=4096)(text_masker(secrets))
    return lambda value: _masked(value, mask, words)


def is_secret_name(name: str) -> bool:
    """Return whether a value of this name is a secret.

    Example:
        >>> is_secret_name("dbPassword"), is_secret_name("API-Key"), is_secret_name("limit")
        (True, True, False)
    """
    return _has_word(name, secret_names())


@lru_cache(maxsize=1000)
def _has_word(name: str, words: tuple[str, ...]) -> bool:
    plain = name.lower().replace("-", "_").replace(" ", "_")
    return any(word in plain for word in words)


def secret_names() -> tuple[str, ...]:
    """Return the words of which a secret's name has one: the known ones, and those that the environment adds."""
    more = ",".join(filter(None, (os.environ.get(name) for name in _MORE_NAMES)))
    if not more:
        return SECRET_NAMES
    added = (name.strip().lower().replace("-", "_") for name in more.split(","))
    return SECRET_NAMES + tuple(filter(None, added))


def secret_values(*data: Any) -> frozenset[str]:
    """Return the texts that stand under secret names, however deep, and can be hidden wherever else they stand.

    Those that would take other words away are left out: dates, words of flowctx's own, and values of the partition keys
    in the data.

    Example:
        >>> sorted(secret_values({"db": {"password": "hunter2", "user": "me"}}))
        ['hunter2']
        >>> sorted(secret_values({"partition": "date=2026-01-05|fund=GROWTH", "proxy_fund": "GROWTH"}))
        []
    """
    found = frozenset(_secrets(data, secret_names(), secret=False))
    return found.difference(_values_of_keys(data)) if found else found


def _secrets(value: Any, words: tuple[str, ...], *, secret: bool) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            hidden = secret or _has_word(str(name), words)
            if hidden or isinstance(inner, (Mapping, list, tuple)):
                yield from _secrets(inner, words, secret=hidden)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _secrets(inner, words, secret=secret)
    elif secret and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        text = str(value).strip()
        if len(text) >= _LEAST_KNOWN and not _is_common(text):
            yield text


def _is_common(text: str) -> bool:
    return text.lower() in OWN_WORDS or _TIME.fullmatch(text) is not None


def _values_of_keys(value: Any) -> Iterator[str]:
    """Yield the values of partition keys, which stand under their field's name as a text or as data."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name != "partition":
                yield from _values_of_keys(inner)
            elif isinstance(inner, Mapping):
                yield from map(str, inner.values())
            elif isinstance(inner, str):
                yield from (part.partition("=")[2] for part in inner.split("|"))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _values_of_keys(inner)


def _masked(value: Any, mask: Callable[[str], str], words: tuple[str, ...]) -> Any:
    if isinstance(value, Mapping):
        return {
            _masked_name(str(name), mask): MASK
            if _has_word(str(name), words) and not _harmless(inner)
            else _masked(inner, mask, words)
            for name, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_masked(inner, mask, words) for inner in value]
    return mask(value) if isinstance(value, str) else value


def _masked_name(name: str, mask: Callable[[str], str]) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else mask(name)


def _harmless(value: object) -> bool:
    return value is None or isinstance(value, bool) or value in ("", {}, [], ())


def _without_password(found: re.Match[str]) -> str:
    word = found[0]
    scheme, separator, rest = word.partition("://")
    before, at, host = rest.rpartition("@")
    if not at:
        return word
    user, colon, _ = before.partition(":")
    if not colon:  # a user alone is a token where the web is concerned; a path with an @ in it is none
        web = scheme.lower().endswith(("http", "https"))
        return f"{scheme}://{MASK}@{host}" if web and "/" not in before else word
    return f"{scheme}{separator}{'' if '/' in user else user}:{MASK}@{host}"


def _environment() -> Iterator[str]:
    """Yield the secrets that the environment holds, such as tokens of engines."""
    for name, value in os.environ.items():
        text = value.strip()
        if len(text) < _LEAST_IN_ENVIRONMENT or "://" in text or text[0] == os.sep or _is_common(text):
            continue
        if is_secret_name(name):
            yield text


def _hide(secret: str, text: str) -> str:
    for form in {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(secret, safe="")}:
        if form in text:
            start, end = (r"(?<!\w)" if form[0].isalnum() else "", r"(?!\w)" if form[-1].isalnum() else "")
            text = re.sub(f"{start}{re.escape(form)}{end}", MASK, text)
    return text


def _hide_credentials(found: re.Match[str]) -> str:
    value = found["value"]
    if found["kind"].lower() == "basic":
        with suppress(ValueError):
            if b":" in b64decode(value + "=" * (-len(value) % 4)):
                return f"{found['kind']} {MASK}"
        return found[0]
    return (
        found[0] if value.isalpha() and value.islower() and len(value) <= _LONGEST_WORD else f"{found['kind']} {MASK}"
    )


@lru_cache(maxsize=8)
def _pairs(names: tuple[str, ...]) -> re.Pattern[str]:
    """Return what finds a secret name and its value: in URLs, settings, JSON and Python."""
    words = "|".join(re.escape(name).replace("_", r"[_\- ]?") for name in names)
    one = rf"(?:{words})[\w.\-]{{0,64}}\\{{0,15}}[\"']?\s{{0,9}}(?:=>|[=:])"
    name = rf"(?P<name>{one}\s{{0,9}})(?!{one}\s)"  # of "TokenError: token: abc", the value stands behind the last name
    quoted = r"[bfru]{0,2}(?:\"(?:[^\"\\]|\\(?s:.))*+(?:\"|\\?$)|'(?:[^'\\]|\\(?s:.))*+(?:'|\\?$))"
    # In JSON in JSON, quotes have backslashes before them; the value ends at the quote that has as many.
    escaped = r"(?P<slashes>\\++)(?P<quote>[\"'])(?:[^\"'\\]|(?!(?P=slashes)(?P=quote))\\++[\"']?)*+\\*+[\"']?"
    value = rf"(?P<value>{quoted}|{escaped}|[\w.]{{0,64}}{_nested(quoted)}|{_KINDS}[^\s&\"'<>]+)"
    return re.compile(name + value, re.I)


def _nested(quoted: str) -> str:
    """Return what finds a list, a dict, a tuple or what a call is given, to its end; of deep ones, all that follows."""
    found = r"[\[{(](?s:.*)"
    for _ in range(_DEEPEST):
        found = rf"[\[{{(](?:[^\[\]{{}}()\"']|{quoted}|{found})*+(?:[\]}})]|$)"
    return found


def _hide_pair(found: re.Match[str]) -> str:
    value = found["value"]
    if value in ("None", "null", "True", "False", "true", "false", "==", "[]", "{}", "()", MASK):
        return found[0]
    if _EXCEPTION.search(found["name"]) and _PROSE.match(found.string, found.start("value")):
        return found[0]
    opening = _OPENING.match(value)
    quote = opening[1] if opening is not None and opening.end() < len(value) and value.endswith(opening[1]) else ""
    return found["name"] + (opening[0] + MASK + quote if opening is not None and quote else MASK)

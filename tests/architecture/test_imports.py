"""What importing costs, and what it says when something is missing."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = [
    "airflow",
    "dagster",
    "sqlalchemy",
    "alembic",
    "pandas",
    "numpy",
    "upath",
    "fsspec",
    "exchange_calendars",
    "rich",
    "click",
]


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


def test_importing_flowctx_loads_nothing_heavy():
    """`import flowctx` loads no engine, database, pandas or path library; the public names do not either."""
    code = (
        "import sys, flowctx\n"
        "for name in flowctx.__all__: getattr(flowctx, name)\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert python(code).stdout.strip() == "[]"


def test_importing_flowctx_loads_only_these_third_party_modules():
    """The list of what is loaded besides the standard library is held here."""
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import flowctx\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names)))"
    )
    assert python(code).stdout.strip() == "['flowctx']"


def test_commands_that_look_load_no_launcher(tmp_path, monkeypatch):
    """A command imports what it needs: no database where there is no ledger, no engine's client, no table library."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("FLOWCTX_LEDGER_URL", raising=False)
    heavy = (name for name in HEAVY if name not in ("rich", "click"))
    slow = [*heavy, "pyarrow", "http.client", "flowctx.backfill.local"]
    code = (
        "import sys\n"
        "from flowctx.cli import cli\n"
        "looks = [[name, '--help'] for name in ('status', 'cancel', 'captures', 'show')]\n"
        "for args in (['runs'], ['batches'], *looks):\n"
        "    try: cli.main(args, standalone_mode=False)\n"
        "    except SystemExit: pass\n"
        f"print([name for name in {slow} if name in sys.modules])"
    )
    done = python(code)
    assert "is not there yet" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("engine", ["airflow", "dagster"])
def test_which_engine_is_there_is_told_without_importing_it(engine):
    """`flowctx doctor` asks; each public name of the adapter is imported when it is used."""
    code = (
        f"import sys, flowctx.{engine} as adapter\n"
        f"print({engine!r} in sys.modules, set(adapter.__all__) <= set(dir(adapter)), hasattr(adapter, 'other'))"
    )
    assert python(code).stdout.split() == ["False", "True", "False"]


@pytest.mark.parametrize(
    ("code", "missing", "remedy"),
    [
        ("import flowctx.airflow", "airflow", "pip install 'flowctx[airflow]'"),
        ("import flowctx.dagster", "dagster", "pip install 'flowctx[dagster]'"),
        (
            "import os, tempfile; os.environ['FLOWCTX_CACHE_DIR'] = tempfile.mkdtemp()\n"
            "import flowctx; flowctx.Daily(start='2012-01-03', calendar='XNYS')[0]",
            "exchange_calendars",
            "pip install 'flowctx[calendars]'",
        ),
        (
            "from flowctx.examples.prices import closes; closes('IBM')",
            "bokeh_sampledata",
            "pip install 'flowctx[examples]'",
        ),
        (
            "import flowctx\n"
            "class Frame:\n"
            "    def __arrow_c_stream__(self, requested_schema=None): ...\n"
            "flowctx.StepResult.ok({'rows': Frame()})",
            "pyarrow",
            "pip install 'flowctx[tables]'",
        ),
        (
            "import pyarrow, flowctx; flowctx.StepResult.ok({'rows': pyarrow.table({'a': [1]})})",
            "numpy",
            "pip install 'flowctx[tables]'",
        ),
    ],
)
def test_a_missing_extra_says_what_to_type(code, missing, remedy):
    """Without the library, the error names it and the exact pip line, and is an ImportError."""
    blocked = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] == {missing!r}: raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Block())\n"
    )
    done = python(blocked + code)
    assert done.returncode == 1
    assert "MissingExtra" in done.stderr
    assert re.search(rf" needs {missing}, which is not installed; .*{re.escape(remedy)}", done.stderr.splitlines()[-1])


def test_a_broken_library_is_not_called_missing():
    """An error inside an installed engine is shown as what it is."""
    code = (
        "import sys, types\n"
        "class Break:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'dagster_shared': raise ModuleNotFoundError('No module named ' + name, name=name)\n"
        "sys.meta_path.insert(0, Break())\n"
        "import flowctx.dagster\n"
        "print('not yet')\n"
        "flowctx.dagster.workflow_job"
    )
    done = python(code)
    assert (done.returncode, done.stdout) == (1, "not yet\n")
    assert "dagster_shared" in done.stderr


BENCHMARKS = sorted((Path(__file__).parents[1] / "bench").glob("*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_what_benchmarks_import_is_there(path):
    """No benchmark asks for a name that has moved; they run so seldom that nobody would see it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        module = getattr(node, "module", None) or ""
        if isinstance(node, ast.ImportFrom) and re.match(r"flowctx(?!\.(airflow|dagster))", module):
            found = importlib.import_module(module)
            for alias in node.names:
                assert hasattr(found, alias.name), f"{module}.{alias.name}"

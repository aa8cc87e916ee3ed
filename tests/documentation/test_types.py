"""The code in the documentation passes ``mypy --strict``, so that readers' code does who begin with it."""

import tomllib
from pathlib import Path

import pytest
from mypy import api

from documentation.modules import write_modules
from documentation.pages import ROOT


@pytest.mark.types
def test_the_code_of_all_pages_passes_mypy_strict(tmp_path):
    """Types are right by mypy, where it takes them most seriously."""
    write_modules(tmp_path)
    out, err, _ = api.run([str(tmp_path), f"--config-file={_settings(tmp_path)}", "--explicit-package-bases"])
    assert not err
    assert not out.replace(str(tmp_path), ""), out


def _settings(folder: Path) -> Path:
    """Write the settings of ``make lint``, whose cache is used: what is imported is not checked once more."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    others = [
        f"[mypy-{','.join(one.pop('module'))}]\n" + "".join(f"{name} = {value}\n" for name, value in one.items())
        for one in known["overrides"]
    ]
    pages = ",".join(
        path.relative_to(folder).with_suffix("").as_posix().replace("/", ".") for path in folder.rglob("*.py")
    )
    settings = folder / "mypy.ini"
    settings.write_text(
        f"[mypy]\nstrict = True\npython_version = {known['python_version']}\nmypy_path = {ROOT / known['mypy_path']}\n"
        f"warn_unreachable = {known['warn_unreachable']}\ncache_dir = {ROOT / '.mypy_cache'}\nerror_summary = False\n"
        f"{''.join(others)}[mypy-{pages}]\nwarn_unreachable = False\nallow_redefinition = True\n"
    )
    return settings

"""The code in the documentation passes ``mypy --strict``, so that readers' code does who begin with it."""

import re
import tomllib
from pathlib import Path

from mypy import api

from documentation.pages import PAGES, ROOT, blocks


def test_the_code_of_all_pages_passes_mypy_strict(tmp_path):
    """Each page's session is one module, and each file with a title is one."""
    for name in PAGES:
        typed = ""
        for block in (block for block in blocks(name) if block.language == "python"):
            if block.title:
                path = tmp_path / block.title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text)
            else:  # on the lines that it has in the page
                typed += "\n" * (block.line - 1 - typed.count("\n")) + block.text
        if typed:
            (tmp_path / f"page_{re.sub('[^a-z]', '_', name.lower())}.py").write_text(typed)
    out, err, _ = api.run([str(tmp_path), f"--config-file={_settings(tmp_path)}", "--explicit-package-bases"])
    assert not err
    assert not out.replace(str(tmp_path), ""), out


def _settings(folder: Path) -> Path:
    """Write the settings of ``make lint``, whose cache is used: what is imported is not checked once more."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    untyped = ",".join(known["overrides"][0]["module"])
    pages = ",".join(
        path.relative_to(folder).with_suffix("").as_posix().replace("/", ".") for path in folder.rglob("*.py")
    )
    settings = folder / "mypy.ini"
    settings.write_text(
        f"[mypy]\nstrict = True\npython_version = {known['python_version']}\nmypy_path = {ROOT / known['mypy_path']}\n"
        f"warn_unreachable = {known['warn_unreachable']}\ncache_dir = {ROOT / '.mypy_cache'}\nerror_summary = False\n"
        f"[mypy-{untyped}]\nignore_missing_imports = True\n"
        f"[mypy-{pages}]\nwarn_unreachable = False\nallow_redefinition = True\n"
    )
    return settings

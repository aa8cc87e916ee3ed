"""The code in the documentation passes ``mypy --strict``, so that readers' code does who begin with it."""

import re

from mypy import api

from documentation.pages import PAGES, ROOT, blocks

UNTYPED = ("pandas", "pyarrow")


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
    settings = tmp_path / "mypy.ini"  # these two come without types
    settings.write_text("[mypy]\n" + "".join(f"[mypy-{name}.*]\nignore_missing_imports = True\n" for name in UNTYPED))
    cache = f"--cache-dir={ROOT}/.cache/mypy-docs"
    options = ["--strict", f"--config-file={settings}", cache, "--allow-redefinition", "--no-error-summary"]
    out, err, _ = api.run([str(tmp_path), *options, "--explicit-package-bases", "--namespace-packages"])
    assert not err
    assert not out.replace(str(tmp_path), ""), out

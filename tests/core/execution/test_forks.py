"""Steps that fork."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import atexit, os, sys
from flowctx import Workflow, run
atexit.register(lambda: print("the end", flush=True))
flow = Workflow("forks")
@flow.step()
def split(ctx):
    child = os.fork()
    if child == 0:
        {ends}
    return {{"copy": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}}
print(run(flow).context.get_output("split", "copy"))
"""


@pytest.mark.parametrize(
    ("ends", "code", "words"),
    [
        ("return {'who': 'copy'}", 1, "came out of the step with a return: it ends here and records nothing"),
        ("raise RuntimeError('token: abc')", 1, "came out of the step with RuntimeError: token: ***: it ends here"),
        ("sys.exit(3)", 3, ""),
        ("sys.exit()", 0, ""),
        ("os._exit(4)", 4, ""),
        ("os.close(2); return {}", 1, ""),
        (
            "raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})",
            1,
            "with Mute:: it ends here",
        ),
    ],
)
def test_a_copy_of_the_process_ends_with_the_step(ends: str, code: int, words: str) -> None:
    """Only the process that ran the step goes on: what follows happens once, with the result of that process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(ends=ends)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines() == [str(code), "the end"]
    assert words in done.stderr
    assert bool(done.stderr) == bool(words)

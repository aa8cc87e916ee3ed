"""Fresh processes that share nothing with the tests', made in milliseconds because the imports are done."""

from multiprocessing import get_context

#: Forked from one process, which has done nothing yet. The last module keeps the collector of garbage away from all.
processes = get_context("forkserver")
processes.set_forkserver_preload(
    [
        "durable_flow",
        "killed_worker",
        "racing",
        "wrong_clocks",
        "time_machine",
        "psycopg",
        "flowctx.artifacts.frames",
        "flowctx.artifacts.library",
        "s3fs",
        "upath",
        "imports_stay",
    ]
)

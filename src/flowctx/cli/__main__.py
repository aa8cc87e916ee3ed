"""``python -m flowctx.cli``."""

from flowctx.cli import main

main()

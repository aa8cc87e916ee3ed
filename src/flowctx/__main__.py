"""``python -m flowctx`` is the ``flowctx`` command."""

from flowctx.cli import main

if __name__ == "__main__":
    main()

"""How the ledger's tables are made and changed: alembic scripts, run by ``flowctx.ledger.schema``."""

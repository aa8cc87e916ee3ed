"""One script for each revision of the ledger's tables."""

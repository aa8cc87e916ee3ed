"""What a workflow is. Standard library and msgspec only; no I/O."""

"""What scripts/test consists of; the standard library is all it needs."""

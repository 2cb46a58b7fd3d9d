"""Data sets as they are published, into the store."""

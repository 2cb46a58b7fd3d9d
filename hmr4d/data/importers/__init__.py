"""Importers: each turns one source of motion into a motion store, once."""

"""Shared helpers for files, text, downloads, precision and seeds, independent of methods and motion."""

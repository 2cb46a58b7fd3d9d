"""Callbacks that score a test."""

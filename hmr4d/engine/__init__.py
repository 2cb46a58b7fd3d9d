"""Composition of configurations, runs, releases and callbacks of the trainer."""

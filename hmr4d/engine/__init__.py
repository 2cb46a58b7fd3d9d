"""Configurations and the trainer's callbacks."""

"""Masked modeling of token sequences: masking schedules, corruption, losses and sampling."""

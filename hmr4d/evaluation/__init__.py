"""Protocols, evaluators, scored tests, cards and the study."""

"""Checks of option values: dataclasses call them on construction, so an invalid value is reported immediately."""

from __future__ import annotations

import math
from collections.abc import Sequence


def check_choices(options: object, **known: Sequence[str]) -> None:
    """ValueError unless every named attribute is one of the allowed values."""
    for name, words in known.items():
        if getattr(options, name) not in words:
            raise ValueError(f"{type(options).__name__}.{name} is '{getattr(options, name)}'; known: {tuple(words)}.")


def check_shares(options: object, *names: str) -> None:
    """ValueError unless every named attribute lies between 0 and 1."""
    for name in names:
        if not 0.0 <= getattr(options, name) <= 1.0:
            raise ValueError(
                f"{type(options).__name__}.{name} is {getattr(options, name)}; expected a fraction from 0 to 1."
            )


def check_at_least(options: object, lowest: float, *names: str) -> None:
    """ValueError unless every named attribute is a finite number of at least `lowest`."""
    for name in names:
        value = getattr(options, name)
        if not (math.isfinite(value) and value >= lowest):
            raise ValueError(f"{type(options).__name__}.{name} is {value}; expected a number of at least {lowest:g}.")

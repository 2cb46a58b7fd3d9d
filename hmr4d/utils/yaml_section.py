"""Mappings from YAML files, with error messages that name the position of the error."""

from __future__ import annotations

import difflib
import re
import reprlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hmr4d.utils.text_files import load_unique_yaml, printable, read_text

_LONGEST = 100  # characters of a value in a message
LARGEST = 1e7  # pixels, meters or degrees; larger numbers are errors and overflow in calculations


def _shown(value: Any) -> str:
    """A value for a message; the beginning of long ones, such as another file's content."""
    short = reprlib.Repr()
    short.maxlist, short.maxstring, short.maxlong, short.maxother = 10, _LONGEST, _LONGEST, _LONGEST
    text = repr(value) if isinstance(value, float) else short.repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def _shown_key(key: Any) -> str:
    return printable(str(key))[:_LONGEST]


def _comma_hint(*values: Any) -> str:
    """Advice for numbers with a decimal comma."""
    found = next((v for v in values if isinstance(v, str) and re.fullmatch(r"\s*[-+]?\d+,\d+\s*", v)), None)
    return "" if found is None else f" Use a decimal point: {found.strip().replace(',', '.')}."


class Section:
    """A mapping of the file with its position, for messages."""

    def __init__(self, values: Any, where: str, allowed: tuple[str, ...]) -> None:
        if not isinstance(values, Mapping):
            known = ", ".join(allowed)
            if values is None and not where:
                raise ValueError(f"it is empty; expected {known}.")
            raise ValueError(f"{where.rstrip('.') or 'its content'} is {_shown(values)}; expected {known}.")
        for key in values:
            if isinstance(key, int) and values[key] is None:  # {height_m: 1,6} is two keys to YAML
                raise ValueError(f"'{where}{key}' stands after a comma; numbers take a point: 1.6, not 1,6.")
            if key not in allowed:
                near = difflib.get_close_matches(str(key), allowed, 1, 0.5)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                raise ValueError(f"unknown key '{where}{_shown_key(key)}'.{hint} Known are {', '.join(allowed)}.")
        self.values, self.where = values, where

    def has(self, key: str) -> bool:
        """Whether a key is there and not empty."""
        return self.values.get(key) is not None

    def required(self, key: str) -> Any:
        """Value of a key; ValueError when it is missing."""
        if not self.has(key):
            raise ValueError(f"'{self.where}{key}' is missing.")
        return self.values[key]

    def section(self, key: str, allowed: tuple[str, ...]) -> Section:
        """The mapping under a key."""
        return Section(self.required(key), f"{self.where}{key}.", allowed)

    def number(self, key: str, default: float | None = None) -> float:
        """Number of a key, see `LARGEST`; without a default it must be there."""
        value = self.values.get(key) if default is not None else self.required(key)
        value = default if value is None else value
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is None or not is_number or not abs(value) <= sys.float_info.max:  # NaN is not either
            raise ValueError(f"'{self.where}{key}' is {_shown(value)}; expected a number.{_comma_hint(value)}")
        self._check_size(key, abs(value))
        return float(value)

    def numbers(self, key: str, *shape: int) -> Tensor:
        """Tensor of a shape; -1 means any length."""
        value = self.required(key)
        try:
            array = torch.tensor(value, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            hint = _comma_hint(*value) if isinstance(value, list) else _comma_hint(value)
            raise ValueError(f"'{self.where}{key}' is {_shown(value)}; expected numbers.{hint}") from error
        fits = array.ndim == len(shape) and all(n in (-1, m) for n, m in zip(shape, array.shape, strict=True))
        if not fits or not bool(array.isfinite().all()):
            wanted = " x ".join(str(n) for n in shape if n > 0) or "a list of"
            raise ValueError(f"'{self.where}{key}' is {_shown(value)}; expected {wanted} numbers.")
        self._check_size(key, float(array.abs().max()) if array.numel() else 0.0)
        return array

    def _check_size(self, key: str, size: float) -> None:
        if size > LARGEST:
            raise ValueError(
                f"'{self.where}{key}' has the number {size:g}; expected pixels, meters or degrees, at most {LARGEST:g}."
            )


def load_yaml(path: Path, what: str) -> Any:
    """Content of a YAML file; errors name the file and `what` was expected."""
    return load_unique_yaml(load_text(path, what), str(path))


def load_text(path: Path, what: str) -> str:
    """Text of a file; errors name the file and `what` was expected."""
    if not path.is_file():
        raise FileNotFoundError(f"{what} not found: {path}. Check the path; docs/calibrate.md shows such files.")
    return read_text(path)

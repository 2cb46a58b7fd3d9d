"""Prompts and durations as a user gives them: checked, read from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hmr4d.utils.text_files import read_text


def read_prompts(path: str | Path) -> list[str]:
    """One prompt per line of a UTF-8 text file; empty lines and lines that start with # are skipped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it contains no prompt or is not text.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Prompts file not found: {path}. Pass a text file with one prompt per line.")
    lines = read_text(path).splitlines()
    prompts = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not prompts:
        raise ValueError(f"{path} contains no prompt. Write one prompt per line.")
    return prompts


def check_prompts(texts: Sequence[str]) -> list[str]:
    """The prompts, stripped; TypeError or ValueError names a prompt that is not text or empty."""
    if isinstance(texts, str):
        texts = [texts]
    checked = []
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"Prompt {number} is {type(text).__name__} {text!r}; prompts are strings.")
        if not text.strip():
            raise ValueError(f"Prompt {number} is empty. Describe a motion, for example 'a person walks forward'.")
        checked.append(text.strip())
    if not checked:
        raise ValueError("No prompt was given. Describe a motion, for example 'a person walks forward'.")
    return checked


def check_seconds(
    seconds: float | Sequence[float], num_texts: int, *, min_seconds: float, max_seconds: float
) -> list[float]:
    """One duration per prompt, from one number or one per prompt; ValueError for a duration out of range."""
    if isinstance(seconds, str) or not isinstance(seconds, (int, float, Sequence)):
        raise TypeError(f"seconds is {type(seconds).__name__} {seconds!r}; give one number, or one per prompt.")
    if isinstance(seconds, Sequence) and len(seconds) != num_texts:
        raise ValueError(
            f"seconds has {len(seconds)} values for {num_texts} prompts. Give one number, or one per prompt."
        )
    listed = [float(s) for s in seconds] if isinstance(seconds, Sequence) else [float(seconds)] * num_texts
    for value in listed:
        if not min_seconds <= value <= max_seconds:
            raise ValueError(
                f"seconds is {value}; this model makes {min_seconds:g} to {max_seconds:g} seconds of motion."
            )
    return listed


def gather_prompts(prompts: Sequence[str] | None, prompts_file: str | Path | None) -> list[str]:
    """Prompts given directly, then those of the file; ValueError if there are none."""
    gathered = list(prompts or [])
    if prompts_file is not None:
        gathered += read_prompts(prompts_file)
    if not gathered:
        raise ValueError("No prompt was given. Give prompts, or a file with one prompt per line.")
    return gathered

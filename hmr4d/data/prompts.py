"""Prompts from a user: a list, a file, durations and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hmr4d.utils.text_files import read_text


def read_prompts(path: str | Path) -> list[str]:
    """One prompt per line of a UTF-8 text file; empty lines and lines that start with # are left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no prompt or is not text.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Prompts file not found: {path}. Give a text file with one prompt per line.")
    lines = read_text(path).splitlines()
    prompts = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not prompts:
        raise ValueError(f"{path} holds no prompt. Write one prompt per line.")
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
    """One duration per prompt from one or one per prompt; ValueError names what is out of range."""
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
    """Prompts given directly, then those of the file; ValueError when there are none."""
    gathered = list(prompts or [])
    if prompts_file is not None:
        gathered += read_prompts(prompts_file)
    if not gathered:
        raise ValueError("No prompt was given. Give prompts, or a file with one prompt per line.")
    return gathered


class PromptDataset:
    """Items to generate: `text`, `seconds`, `seed`, `prompt` and `sample` number, `length` 1.

    Args:
        prompts, prompts_file: see `gather_prompts`.
        seconds: one duration, or one per prompt.
        min_seconds, max_seconds: what the model makes.
        seed: of sample 0 of every prompt; sample k takes seed + k.
        num_samples: motions per prompt.
    """

    text_cache = None

    def __init__(
        self, *, prompts: Sequence[str] | None = None, prompts_file: str | Path | None = None,
        seconds: float | Sequence[float] = 5.0, min_seconds: float = 1.0, max_seconds: float = 10.0, seed: int = 0,
        num_samples: int = 1,
    ) -> None:  # fmt: skip
        texts = check_prompts(gather_prompts(prompts, prompts_file))
        durations = check_seconds(seconds, len(texts), min_seconds=min_seconds, max_seconds=max_seconds)
        if num_samples < 1:
            raise ValueError(f"num_samples is {num_samples}; ask for at least one.")
        self.items = [
            {"text": text, "seconds": duration, "seed": seed + k, "prompt": number, "sample": k, "length": 1}
            for number, (text, duration) in enumerate(zip(texts, durations, strict=True))
            for k in range(num_samples)
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.items[index]

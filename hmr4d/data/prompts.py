"""Prompts as a dataset: items for `engine.run` to generate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hmr4d.utils.prompts import check_prompts, check_seconds, gather_prompts


class PromptDataset:
    """Items to generate: `text`, `seconds`, `seed`, `prompt` and `sample` number, `length` 1.

    Args:
        prompts, prompts_file: see `gather_prompts`.
        seconds: one duration, or one per prompt.
        min_seconds, max_seconds: range of the model. seed: seed of sample 0 of every prompt; sample k uses seed + k.
        num_samples: motions per prompt.
    """

    text_cache = None

    def __init__(
        self,
        *,
        prompts: Sequence[str] | None = None,
        prompts_file: str | Path | None = None,
        seconds: float | Sequence[float] = 5.0,
        min_seconds: float = 1.0,
        max_seconds: float = 10.0,
        seed: int = 0,
        num_samples: int = 1,
    ) -> None:
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

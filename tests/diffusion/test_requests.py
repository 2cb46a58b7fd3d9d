"""Seeds of a request are whole numbers, one or one each."""

from __future__ import annotations

import numpy as np
import pytest

from hmr4d.diffusion.requests import seeds_of


def test_seeds_are_whole_numbers() -> None:
    assert seeds_of(3, None, 2) == seeds_of(np.int64(3), None, 2) == seeds_of([3, 3], None, 2) == [3, 3]  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"seed is 1\.5; expected a whole number, or one per prompt"):
        seeds_of(1.5, None, 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 seeds for 2 prompts"):
        seeds_of([1], None, 2)

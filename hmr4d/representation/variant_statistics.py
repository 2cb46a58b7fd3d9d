"""Statistics of features with variants, which evaluators store with their weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

from hmr4d.representation.motion2d import Statistics


@dataclass(frozen=True)
class VariantStatistics(Statistics):
    """Mean and deviation (D,) float32 of one variant of a representation, and their origin.

    Attributes:
        variant: variant of the representation. source: origin of the numbers as text. num_rows, num_skipped: number of
            feature rows, and of clips excluded for NaN; 0 if not recorded.
    """

    variant: str = ""
    source: str = ""
    num_rows: int = 0
    num_skipped: int = 0

    @cached_property
    def hash(self) -> str:
        """SHA-256 in hex of the numbers, the variant and the rate; names do not count."""
        digest = hashlib.sha256(json.dumps([self.variant, float(self.fps)]).encode())
        for values in (self.mean, self.std):
            digest.update(values.astype("<f4").tobytes())
        return digest.hexdigest()

    def _check(self, representation: str, num_features: int) -> None:
        """ValueError unless the numbers are those of a representation."""
        shapes = self.mean.shape, self.std.shape
        if self.representation != representation or shapes != ((num_features,), (num_features,)):
            raise ValueError(
                f"Statistics '{self.name}' are of representation '{self.representation}' with shapes "
                f"{shapes}; expected '{representation}' and ({num_features},) each."
            )

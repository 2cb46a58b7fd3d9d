"""File layout of the parameters of the four parts."""

from __future__ import annotations

from hmr4d.methods.k2m.network import PARTS
from hmr4d.utils.weights import WeightFiles

WEIGHTS = WeightFiles(network="network", num_files={"pl": 1, "parts": len(PARTS)})

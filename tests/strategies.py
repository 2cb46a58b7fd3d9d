"""Hypothesis strategies that the property tests share. All tensors are float64."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

TINY = [10.0**-k for k in range(1, 13)]


def tensors(*shape: int, low: float = -10.0, high: float = 10.0) -> st.SearchStrategy[Tensor]:
    """Tensors of a shape with numbers in [low, high]; numbers nearer to zero than 1e-6 of the range are zero."""
    numbers = st.floats(low, high, allow_subnormal=False).map(lambda x: 0.0 if abs(x) < 1e-6 * (high - low) else x)
    return arrays(np.float64, shape, elements=numbers).map(torch.from_numpy)


def seeds() -> st.SearchStrategy[int]:
    return st.integers(0, 2**32 - 1)


def angles() -> st.SearchStrategy[float]:
    """Radians in [0, pi]: anything, and both ends with their neighborhoods."""
    near_zero = st.sampled_from([0.0, *TINY])
    return st.one_of(st.floats(0.0, math.pi), near_zero, near_zero.map(lambda x: math.pi - x))


@st.composite
def axes(draw: st.DrawFn) -> Tensor:
    """(3,) unit vectors, coordinate axes among them."""
    v = draw(tensors(3, low=-1.0, high=1.0).filter(lambda v: float(v.norm()) > 1e-3))
    return v / v.norm()


@st.composite
def rotation_vectors(draw: st.DrawFn) -> Tensor:
    """(3,) axis times angle in radians."""
    return draw(axes()) * draw(angles())


@st.composite
def unit_quats_wxyz(draw: st.DrawFn) -> Tensor:
    """(4,) w, x, y, z of norm 1; w is negative in some."""
    half = draw(angles()) / 2
    q = torch.cat([torch.tensor([math.cos(half)], dtype=torch.float64), math.sin(half) * draw(axes())])
    return q * draw(st.sampled_from([1.0, -1.0]))

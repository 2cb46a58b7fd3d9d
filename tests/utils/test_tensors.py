"""Rows made up from their neighbors."""

from __future__ import annotations

import torch

from hmr4d.utils.tensors import interpolate_gaps

NAN = float("nan")


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None]


def test_gaps_are_bridged_linearly_and_ends_held() -> None:
    x = column(NAN, 2.0, NAN, NAN, 8.0, NAN)
    got = interpolate_gaps(x, ~x[:, 0].isnan())
    assert torch.allclose(got, column(2.0, 2.0, 4.0, 6.0, 8.0, 8.0))


def test_long_gaps_hold_what_was_last() -> None:
    x = column(1.0, NAN, 3.0, NAN, NAN, 6.0)
    got = interpolate_gaps(x, ~x[:, 0].isnan(), max_gap=1)
    assert torch.equal(got, column(1.0, 2.0, 3.0, 3.0, 3.0, 6.0))


def test_nothing_valid_gives_zeros_and_all_valid_the_rows() -> None:
    x = torch.randn(2, 3, 4, 5)
    assert torch.equal(interpolate_gaps(x, torch.zeros(2, 3, 4, dtype=torch.bool)), torch.zeros_like(x))
    assert torch.equal(interpolate_gaps(x, torch.ones(2, 3, 4, dtype=torch.bool)), x)


def test_batches_do_not_mix() -> None:
    generator = torch.Generator().manual_seed(0)
    x, valid = torch.randn(6, 9, 2, generator=generator), torch.rand(6, 9, generator=generator) < 0.5
    together = interpolate_gaps(x, valid, max_gap=2)
    for i in range(6):
        assert torch.equal(together[i], interpolate_gaps(x[i], valid[i], max_gap=2))
    assert torch.equal(together[valid], x[valid])

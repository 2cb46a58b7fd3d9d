"""Masks, corruption and drawing of tokens."""

from __future__ import annotations

import pytest
import torch

from hmr4d.masked_modeling.masks import corrupt, draw_hidden, token_loss
from hmr4d.masked_modeling.sampling import FREE, TokenSampling, guided, sample_layers, sample_masked

MASK, PAD, CLASSES = 6, 7, 6


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def noisy_logits(ids: torch.Tensor) -> torch.Tensor:
    """Logits (B, K, N) that depend on each item's ids alone."""
    place = torch.arange(ids.shape[1])
    return torch.sin(ids[:, None] * 0.7 + place * 1.3 + torch.arange(CLASSES)[:, None] * 2.1)


def test_hidden_tokens_are_at_least_one_of_a_full_item_and_never_padding() -> None:
    valid = torch.arange(8) < torch.tensor([[8], [3]])
    for seed in range(20):
        hidden = draw_hidden(valid, torch.Generator().manual_seed(seed))
        assert not (hidden & ~valid).any() and hidden[0].any()


def test_most_hidden_tokens_are_masked() -> None:
    ids, hidden = torch.zeros(100, 50, dtype=torch.int64), torch.ones(100, 50, dtype=torch.bool)
    shown = corrupt(ids, hidden, num_tokens=6, mask_id=MASK, generator=torch.Generator().manual_seed(0))
    assert 0.77 < float((shown == MASK).float().mean()) < 0.82
    assert (corrupt(ids, ~hidden, num_tokens=6, mask_id=MASK, generator=torch.Generator()) == ids).all()


def test_the_loss_of_nothing_is_zero() -> None:
    loss, accuracy = token_loss(torch.randn(2, 6, 4), torch.full((2, 4), MASK), ignore=MASK)
    assert float(loss) == 0 and float(accuracy) == 0


def test_an_item_is_drawn_alike_alone_and_in_a_batch() -> None:
    options = TokenSampling(num_steps=4, threshold=0.3)
    both = sample_masked(
        noisy_logits, torch.tensor([5, 3]), generators(1, 2), mask_id=MASK, pad_id=PAD, options=options
    )
    alone = sample_masked(noisy_logits, torch.tensor([3]), generators(2), mask_id=MASK, pad_id=PAD, options=options)
    assert torch.equal(both[1, :3], alone[0]) and (both[1, 3:] == FREE).all()
    assert ((both[0] >= 0) & (both[0] < CLASSES)).all()


def test_known_tokens_are_seen_and_kept() -> None:
    known = torch.tensor([[2, FREE, FREE, 4, FREE]])
    fed = []

    def watched(ids: torch.Tensor) -> torch.Tensor:
        fed.append(ids)
        return noisy_logits(ids)

    found = sample_masked(
        watched, torch.tensor([5]), generators(1), mask_id=MASK, pad_id=PAD, options=TokenSampling(3), known=known
    )
    assert all((ids[0, [0, 3]] == torch.tensor([2, 4])).all() for ids in fed)
    assert found[0, 0] == 2 and found[0, 3] == 4 and (found < CLASSES).all()


def test_padding_is_never_drawn_in_residual_layers() -> None:
    def logits(ids: torch.Tensor, layer: int) -> torch.Tensor:
        out = torch.zeros(1, CLASSES + 1, ids.shape[1])
        out[:, CLASSES] = 100.0
        return out

    first = torch.tensor([[1, 2, FREE]])
    found = sample_layers(logits, first, generators(0), num_layers=3, pad_id=CLASSES, options=TokenSampling())
    assert found.shape == (1, 3, 3) and (found[0, :2] >= 0).all() and (found[0, 2] == FREE).all()


def test_guidance_of_one_runs_one_pass() -> None:
    def fail() -> torch.Tensor:
        raise AssertionError("the pass without text ran")

    assert float(guided(1.0, lambda: torch.tensor(3.0), fail)) == 3.0


@pytest.mark.parametrize("wrong", [{"num_steps": 0}, {"threshold": 1.0}, {"temperature": 0.0}])
def test_impossible_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        TokenSampling(**wrong)  # type: ignore[arg-type]

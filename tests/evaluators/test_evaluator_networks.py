"""Evaluator networks and their losses: what they see, in which order, and closed forms."""

import numpy as np
import pytest
import torch

from hmr4d.evaluators.losses import (
    MARGIN,
    decomposition_loss,
    length_loss,
    matching_loss,
    published_shift,
)
from hmr4d.evaluators.networks import (
    LengthEstimator,
    MotionEncoder,
    MovementDecoder,
    MovementEncoder,
    TextEncoder,
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def test_a_token_depends_on_rows_from_three_before_to_six_after_its_first() -> None:
    encoder = MovementEncoder(5, 8, 6).eval()
    rows = torch.randn(1, 32, 5, requires_grad=True)
    tokens = encoder(rows)
    assert tokens.shape == (1, 8, 6)
    for token in (2, 4):
        seen = torch.autograd.grad(tokens[0, token].sum(), rows, retain_graph=True)[0][0].abs().sum(-1).nonzero()[:, 0]
        assert seen.tolist() == list(range(4 * token - 3, 4 * token + 7))


def test_decoder_gives_back_as_many_rows() -> None:
    assert MovementDecoder(6, 8, 7)(torch.randn(2, 5, 6)).shape == (2, 20, 7)


def test_motion_lengths_come_in_any_order_and_padding_does_not_count() -> None:
    encoder = MotionEncoder(4, 8, 6)
    lengths = torch.tensor([3, 7, 1, 7])
    movements = torch.randn(4, 7, 4)
    together = encoder(movements, lengths)
    for i, length in enumerate(lengths):
        torch.testing.assert_close(encoder(movements[i : i + 1, :length], length[None]), together[i : i + 1])
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(encoder(movements[order], lengths[order]), together[order])


@pytest.mark.parametrize("pos_dim", [0, 3])
def test_text_lengths_come_in_any_order_and_padding_does_not_count(pos_dim: int) -> None:
    encoder = TextEncoder(4, pos_dim, 8, 6)
    words, lengths = torch.randn(3, 5, 4), torch.tensor([2, 5, 4])
    pos = torch.randn(3, 5, pos_dim) if pos_dim else None
    together = encoder(words, lengths, pos)
    for i, length in enumerate(lengths):
        own = None if pos is None else pos[i : i + 1, :length]
        torch.testing.assert_close(encoder(words[i : i + 1, :length], length[None], own), together[i : i + 1])


def test_word_classes_are_required_exactly_if_the_network_has_them() -> None:
    words, lengths = torch.randn(1, 5, 4), torch.tensor([5])
    with pytest.raises(ValueError, match=r"needs part-of-speech classes \(B, N, 3\)"):
        TextEncoder(4, 3, 8, 6)(words, lengths)
    with pytest.raises(ValueError, match="no part-of-speech classes; pass words alone"):
        LengthEstimator(4, 0, 8)(words, lengths, torch.zeros(1, 5, 3))


def test_initial_weights() -> None:
    encoder = TextEncoder(300, 15, 64, 32)
    assert encoder.words.embed.bias.abs().max() == 0
    expected = (2 / (300 + 64)) ** 0.5  # Xavier's normal distribution
    assert encoder.words.embed.weight.std().item() == pytest.approx(expected, rel=0.05)
    assert encoder.words.summary.initial_state.std().item() == pytest.approx(1, rel=0.3)
    assert encoder.words.summary.gru.weight_ih_l0.abs().max() <= 64**-0.5


def test_matching_loss_by_hand() -> None:
    text = torch.tensor([[0.0, 0.0], [6.0, 0.0]])
    motion = torch.tensor([[3.0, 4.0], [6.0, 2.0]])
    loss = matching_loss(text, motion, shift=1)
    assert loss.positive.item() == pytest.approx((25 + 4) / 2, rel=1e-5)
    wrong = (MARGIN - 40**0.5) ** 2, (MARGIN - 5) ** 2  # text 0 with motion 1, text 1 with motion 0
    assert loss.negative.item() == pytest.approx(sum(wrong) / 2, rel=1e-5)
    assert loss.total.item() == pytest.approx(loss.positive.item() + loss.negative.item())
    own = matching_loss(text, motion, shift=0)
    assert own.negative.item() == pytest.approx(((MARGIN - 5) ** 2 + (MARGIN - 2) ** 2) / 2, rel=1e-5)


def test_published_shift_excludes_the_last_pair_but_includes_the_pair_itself() -> None:
    random = np.random.RandomState(0)
    assert {published_shift(4, random) for _ in range(100)} == {0, 1, 2}
    with pytest.raises(ValueError, match="batch of 1 has no negative pairs"):
        published_shift(1, random)


def test_decomposition_and_length_loss_by_hand() -> None:
    rows, tokens = torch.zeros(2, 8, 3), torch.tensor([[[1.0], [4.0]], [[-1.0], [-3.0]]])
    loss = decomposition_loss(rows + 0.5, rows, tokens)
    assert (loss.reconstruction.item(), loss.sparsity.item(), loss.smoothness.item()) == (0.5, 2.25, 2.5)
    assert loss.total.item() == pytest.approx(0.5 + 0.00225 + 0.0025)
    logits = torch.randn(2, 50)
    expected = -logits.log_softmax(-1)[[0, 1], [10, 49]].mean()
    torch.testing.assert_close(length_loss(logits, torch.tensor([43, 196])), expected)

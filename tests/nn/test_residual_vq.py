"""The residual quantizer beside its golden vectors: gradients, dropped layers, padding."""

from __future__ import annotations

import pytest
import torch

from hmr4d.nn.residual_vq import DROPPED, ResidualQuantizer


def started(**options: object) -> ResidualQuantizer:
    quantizer = ResidualQuantizer(3, 8, 4, temperature=0.0, dropout=0.0, **options)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    for layer in quantizer.codebooks():
        layer.codebook.copy_(torch.randn(8, 4, generator=generator))
        layer.initialized.fill_(True)
    return quantizer.eval()


def test_the_sum_passes_the_gradient_once() -> None:
    x = torch.randn(2, 4, 5, requires_grad=True)
    for kind, factor in (("per_layer", 3.0), ("sum", 1.0)):
        (gradient,) = torch.autograd.grad(started(straight_through=kind)(x).latent.sum(), x)
        assert torch.allclose(gradient, torch.full_like(gradient, factor))


def test_a_shared_codebook_is_one() -> None:
    quantizer = started(shared=True)
    assert len({id(layer) for layer in quantizer.codebooks()}) == 1
    assert len(list(quantizer.buffers())) == 4


def test_padding_changes_neither_codebooks_nor_loss() -> None:
    x, valid = torch.randn(2, 4, 6), torch.arange(6) < torch.tensor([[6], [3]])
    other = torch.where(valid[:, None], x, 50.0)
    results = []
    for latent in (x, other):
        quantizer = started().train()
        found = quantizer(latent, valid=valid)
        results.append((found.commitment, found.perplexity, quantizer.codebooks()[2].codebook))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_dropped_layers_decode_to_nothing() -> None:
    quantizer = started()
    x = torch.randn(1, 4, 5)
    few = quantizer(x, num_active=1)
    assert (few.indices[..., 1:] == DROPPED).all()
    assert torch.allclose(quantizer.decode(few.indices), few.latent, atol=1e-6)


def test_sampling_in_training_requires_a_generator() -> None:
    quantizer = ResidualQuantizer(2, 8, 4, dropout=0.5).train()
    with pytest.raises(ValueError, match="give a generator"):
        quantizer(torch.randn(1, 4, 8))


def test_a_first_batch_smaller_than_the_codebook_fills_it() -> None:
    quantizer = ResidualQuantizer(1, 8, 4, temperature=0.0, dropout=0.0).train()
    found = quantizer(torch.randn(1, 4, 3), generator=torch.Generator().manual_seed(0))
    assert found.latent.isfinite().all() and bool(quantizer.codebooks()[0].initialized)

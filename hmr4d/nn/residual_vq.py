"""Residual vector quantization with codebooks that follow the data by a moving average.

van den Oord et al., "Neural Discrete Representation Learning", 2017, arXiv 1711.00937; Lee et al., "Autoregressive
Image Generation Using Residual Quantization", 2022, arXiv 2203.01941; in the form of Guo et al., "MoMask", 2023, arXiv
2312.00063. Unlike in the published code, checkpoints contain the state of the moving average, the caller's
latent is not modified, and distributed processes share one state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from hmr4d.utils.precision import full_precision

DROPPED = -1  # index of a layer that did not run
TILE_NOISE = 0.01  # noise of repeated rows that fill a codebook, divided by the root of their dimension
LEAST_COUNT = 1.0  # codes with a smaller moving count are replaced
LOG_OFFSET = 1e-7

StraightThrough = Literal["per_layer", "sum"]


@dataclass(frozen=True)
class Quantized:
    """Result of a quantizer.

    Attributes:
        latent: (N, C, T) sum of the codes; gradients pass straight through.
        indices: (N, T, Q) int64, DROPPED for layers that did not run.
        commitment: mean squared distance of each layer's input to its code, averaged over the layers that ran.
        perplexity: (Q,) effective number of used codes, the exponential of their entropy; 0 for layers that did not
            run.
    """

    latent: Tensor
    indices: Tensor
    commitment: Tensor
    perplexity: Tensor


class EmaCodebook(nn.Module):
    """One codebook (K, C) with a moving sum and count of the rows that chose each code.

    Args:
        num_codes: K.
        dim: C.
        decay: decay of sum and count.
    """

    codebook: Tensor
    code_sum: Tensor
    code_count: Tensor
    initialized: Tensor

    def __init__(self, num_codes: int, dim: int, *, decay: float = 0.99) -> None:
        super().__init__()
        self.num_codes, self.dim, self.decay = num_codes, dim, decay
        self.register_buffer("codebook", torch.zeros(num_codes, dim))
        self.register_buffer("code_sum", torch.zeros(num_codes, dim))
        self.register_buffer("code_count", torch.ones(num_codes))
        self.register_buffer("initialized", torch.zeros((), dtype=torch.bool))

    def distances(self, rows: Tensor) -> Tensor:
        """(R, K) squared distances of rows (R, C) to the codes."""
        code = self.codebook
        return rows.square().sum(-1, keepdim=True) - 2 * rows @ code.mT + code.square().sum(-1)

    def choose(self, rows: Tensor, *, temperature: float = 0.0, generator: torch.Generator | None = None) -> Tensor:
        """Codes (R,) int64: the nearest, or sampled by -distance / `temperature` with noise of a CPU generator."""
        distances = self.distances(rows)
        if temperature <= 0:
            return distances.argmin(-1)
        if generator is None:
            raise ValueError("Codes are sampled with a temperature; give a generator, or set the temperature to 0.")
        uniform = torch.rand(distances.shape, generator=generator).clamp(1e-20, 1 - 1e-7).to(distances.device)
        return (-distances / temperature - (-uniform.log()).log()).argmax(-1)

    def lookup(self, indices: Tensor) -> Tensor:
        """Codes (..., C) of indices (...); zero where DROPPED."""
        codes = F.embedding(indices.clamp(min=0), self.codebook)
        return codes * (indices >= 0)[..., None]

    def perplexity(self, counts: Tensor) -> Tensor:
        """Perplexity of the codes from their counts (K,)."""
        share = counts / counts.sum().clamp(min=1)
        return torch.exp(-(share * (share + LOG_OFFSET).log()).sum())

    @torch.no_grad()
    def start(self, rows: Tensor, generator: torch.Generator | None = None) -> None:
        """Initializes the codes with the first K rows (of all processes), unless the codebook is initialized."""
        if bool(self.initialized):
            return
        code = self._fill(_gathered(rows), generator)
        self.codebook.copy_(code)
        self.code_sum.copy_(code)
        self.code_count.fill_(1.0)
        self.initialized.fill_(True)

    @torch.no_grad()
    def follow(self, rows: Tensor, indices: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One step of the moving average; rarely used codes are replaced by rows of the batch. Returns counts (K,)."""
        onehot = F.one_hot(indices, self.num_codes).to(rows)
        sums, counts = onehot.mT @ rows, onehot.sum(0)
        if _is_distributed():
            dist.all_reduce(sums)
            dist.all_reduce(counts)
        self.code_sum.lerp_(sums, 1 - self.decay)
        self.code_count.lerp_(counts, 1 - self.decay)
        is_used = (self.code_count >= LEAST_COUNT)[:, None]
        mean = self.code_sum / self.code_count.clamp(min=1e-12)[:, None]
        self.codebook.copy_(torch.where(is_used, mean, self._fill(_gathered(rows), generator)))
        return counts

    def _fill(self, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        """The first K rows; if there are fewer, they are repeated with a little noise."""
        if len(rows) < self.num_codes:
            rows = rows.repeat(-(-self.num_codes // len(rows)), 1)
            noise = torch.randn(rows.shape, generator=generator or torch.Generator().manual_seed(0))
            rows = rows + noise.to(rows) * TILE_NOISE / self.dim**0.5
        return rows[: self.num_codes]


class ResidualQuantizer(nn.Module):
    """Residual codebooks: each quantizes the residual of the previous ones.

    Args:
        num_layers: Q.
        num_codes: K of each codebook.
        dim: C of the latent.
        decay: decay of the moving averages.
        shared: share one codebook between all layers.
        temperature: temperature of code sampling in training; 0: nearest code.
        dropout: probability of a training step with only the first layers.
        straight_through: "per_layer": every layer passes the gradient, which multiplies it by the number of layers, as
            published; "sum": the sum of the codes passes it once.
    """

    def __init__(
        self,
        num_layers: int,
        num_codes: int,
        dim: int,
        *,
        decay: float = 0.99,
        shared: bool = False,
        temperature: float = 0.5,
        dropout: float = 0.2,
        straight_through: StraightThrough = "per_layer",
    ) -> None:
        super().__init__()
        if straight_through not in ("per_layer", "sum"):
            raise ValueError(f"straight_through is '{straight_through}'; expected 'per_layer' or 'sum'.")
        first = EmaCodebook(num_codes, dim, decay=decay)
        others = [first if shared else EmaCodebook(num_codes, dim, decay=decay) for _ in range(num_layers - 1)]
        self.layers = nn.ModuleList([first, *others])
        self.num_layers, self.num_codes, self.temperature, self.dropout = num_layers, num_codes, temperature, dropout
        self.straight_through: StraightThrough = straight_through

    def codebooks(self) -> list[EmaCodebook]:
        """The codebook of each layer."""
        return [layer for layer in self.layers if isinstance(layer, EmaCodebook)]

    @full_precision
    def forward(
        self,
        latent: Tensor,
        *,
        valid: Tensor | None = None,
        num_active: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Quantized:
        """Quantizes a latent; in training the codebooks are updated.

        Args:
            latent: (N, C, T).
            valid: (N, T) bool, positions used for codebooks, loss and perplexity; None: all.
            num_active: number of layers to run; None: all, or a random number with `dropout`.
            generator: CPU generator; required for random draws in training.
        """
        x = latent.float().transpose(1, 2)  # (N, T, C)
        rows = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if valid is None else valid
        num_active = self._drawn_layers(generator) if num_active is None else num_active
        residual, total = x, torch.zeros_like(x)
        indices: list[Tensor] = []
        losses: list[Tensor] = []
        perplexities: list[Tensor] = []
        for number, layer in enumerate(self.codebooks()):
            if number >= num_active:
                indices.append(torch.full(x.shape[:2], DROPPED, device=x.device))
                perplexities.append(x.new_zeros(()))
                continue
            chosen, code, perplexity = self._run(layer, residual, rows, generator)
            indices.append(chosen)
            perplexities.append(perplexity)
            losses.append((residual - code)[rows].square().mean())
            total = total + (residual + (code - residual).detach() if self.straight_through == "per_layer" else code)
            residual = residual - code
        if self.straight_through == "sum":
            total = x + (total - x).detach()
        return Quantized(
            total.transpose(1, 2), torch.stack(indices, -1), torch.stack(losses).mean(), torch.stack(perplexities)
        )

    def decode(self, indices: Tensor) -> Tensor:
        """Latent (N, C, T) of indices (N, T, Q), zero where DROPPED."""
        codes = [layer.lookup(indices[..., q]) for q, layer in enumerate(self.codebooks()[: indices.shape[-1]])]
        return torch.stack(codes).sum(0).transpose(1, 2)

    def _run(
        self, layer: EmaCodebook, residual: Tensor, valid: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Indices (N, T), codes (N, T, C) without gradient, and perplexity of one layer."""
        detached = residual.detach()
        rows = detached[valid]
        if self.training:
            layer.start(rows, generator)
        temperature = self.temperature if self.training else 0.0
        chosen = layer.choose(detached.flatten(0, 1), temperature=temperature, generator=generator)
        chosen = chosen.unflatten(0, residual.shape[:2])
        code = layer.lookup(chosen)
        if self.training:
            counts = layer.follow(rows, chosen[valid], generator)
        else:
            counts = torch.bincount(chosen[valid], minlength=self.num_codes).to(rows)
        return chosen, code, layer.perplexity(counts)

    def _drawn_layers(self, generator: torch.Generator | None) -> int:
        if not self.training or self.dropout <= 0:
            return self.num_layers
        if generator is None:
            raise ValueError("Layers are dropped at random in training; give a generator, or set dropout to 0.")
        is_dropped = float(torch.rand((), generator=generator)) < self.dropout
        drawn = int(torch.randint(1, self.num_layers + 1, (), generator=generator))
        return _agreed(drawn if is_dropped else self.num_layers, device=self.codebooks()[0].codebook.device)


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _agreed(number: int, *, device: torch.device) -> int:
    """The number drawn by the first process, so that all processes run the same layers."""
    if not _is_distributed():
        return number
    shared = torch.tensor([number], device=device)
    dist.broadcast(shared, 0)
    return int(shared)


def _gathered(rows: Tensor) -> Tensor:
    """Rows of all processes, in the order of their ranks; processes may have different numbers of rows."""
    if not _is_distributed():
        return rows
    counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    longest = max(int(count) for count in counts)
    padded = F.pad(rows, (0, 0, 0, longest - len(rows))).contiguous()
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[: int(count)] for part, count in zip(parts, counts, strict=True)])

"""Text-to-token networks: masked transformer of the base layer, residual transformer, and length estimator.

Architecture of Guo et al., "MoMask: Generative Masked Modeling of 3D Human Motions", CVPR 2024, arXiv 2312.00063.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hmr4d.nn.embeddings import sinusoidal_table
from hmr4d.nn.post_norm import PostNormLayer

INIT_STD = 0.02  # standard deviation of all published initial weights and embeddings
HEAD_EPS = 1e-12  # epsilon of the normalization in the head
LEAKY_SLOPE = 0.2
MAX_TOKENS = 5000  # rows of the position table
Start = Literal["published", "same_scale"]


class TokenTransformer(nn.Module):
    """Common part of both transformers: prefix tokens, positions, layers and head without the last product.

    Args:
        token_dim: channels of a token embedding.
        text_dim: channels of the pooled text vector.
        dim: channels of the layers.
        num_layers, num_heads, hidden_dim, dropout: options of the layers.
        start: initial weights. "published": a standard deviation of 0.02; tokens are then 200 times smaller than their
            positions and have little effect at first. "same_scale": all signals have a size of about 1, for text
            vectors of norm 1.
    """

    positions: Tensor

    def __init__(
        self,
        *,
        token_dim: int,
        text_dim: int,
        dim: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        dropout: float,
        start: Start,
    ) -> None:
        super().__init__()
        if start not in ("published", "same_scale"):
            raise ValueError(f"start is '{start}'; expected 'published' or 'same_scale'.")
        self.text_dim, self.start = text_dim, start
        self.embed = nn.Linear(token_dim, dim)
        self.embed_text = nn.Linear(text_dim, dim)
        self.layers = nn.ModuleList(
            PostNormLayer(dim, num_heads, hidden_dim, dropout=dropout) for _ in range(num_layers)
        )
        self.dropout = nn.Dropout(dropout)
        self.dense, self.act, self.norm = nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim, eps=HEAD_EPS)
        self.register_buffer("positions", sinusoidal_table(MAX_TOKENS, dim), persistent=False)

    def initialize(self) -> None:
        """Initializes all existing layers: normal weights, zero biases."""
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=self.embedding_std)
            if isinstance(module, nn.Linear):
                std = INIT_STD if self.start == "published" else module.in_features**-0.5
                nn.init.normal_(module.weight, std=std)
                nn.init.zeros_(module.bias)
        if self.start == "same_scale":
            nn.init.normal_(self.embed_text.weight)  # text vectors have a norm of 1

    @property
    def embedding_std(self) -> float:
        """Standard deviation of the initial token embeddings."""
        return INIT_STD if self.start == "published" else 1.0

    def run(self, tokens: Tensor, valid: Tensor, prefix: list[Tensor]) -> Tensor:
        """Features (B, N, D) of token embeddings (B, N, C) that follow the prefix tokens, (B, D) each."""
        x = self.dropout(self.embed(tokens) + self.positions[: tokens.shape[1]])
        x = torch.cat([*(token[:, None] for token in prefix), x], 1)
        seen = F.pad(valid, (len(prefix), 0), value=True)
        for layer in self.layers:
            x = layer(x, seen)
        return self.norm(self.act(self.dense(x[:, len(prefix) :])))


class MaskedTransformer(TokenTransformer):
    """Predicts hidden base tokens from the visible ones and a text.

    Args:
        num_tokens: K; id K is the mask token, id K + 1 is padding.
        token_dim, text_dim, dim, num_layers, num_heads, hidden_dim, dropout, start: see `TokenTransformer`.
    """

    def __init__(
        self,
        *,
        num_tokens: int = 512,
        token_dim: int = 512,
        text_dim: int = 512,
        dim: int = 384,
        num_layers: int = 6,
        num_heads: int = 6,
        hidden_dim: int = 1024,
        dropout: float = 0.2,
        start: Start = "published",
    ) -> None:
        super().__init__(
            token_dim=token_dim,
            text_dim=text_dim,
            dim=dim,
            num_layers=num_layers,
            num_heads=num_heads,
            hidden_dim=hidden_dim,
            dropout=dropout,
            start=start,
        )
        self.num_tokens, self.mask_id, self.pad_id = num_tokens, num_tokens, num_tokens + 1
        self.token_embed = nn.Embedding(num_tokens + 2, token_dim)
        self.out = nn.Linear(dim, num_tokens)
        self.initialize()

    def forward(self, ids: Tensor, text: Tensor, valid: Tensor) -> Tensor:
        """Logits (B, K, N) of ids (B, N), pooled text (B, C; zeros: no text) and `valid` (B, N) bool."""
        features = self.run(self.token_embed(ids), valid, [self.embed_text(text)])
        return self.out(features).transpose(1, 2)


class ResidualTransformer(TokenTransformer):
    """Predicts one residual layer from the layers below it and a text.

    Args:
        num_tokens: K; id K is padding.
        num_quantizers: Q layers in all; 1 to Q - 1 are predicted.
        share_weights: layers between the first and the last share one table for input and output.
        fix_output_bias: without shared tables, logits are W h + b; False: 2 W h + b, as in the published code.
        token_dim, text_dim, dim, num_layers, num_heads, hidden_dim, dropout, start: see `TokenTransformer`.
    """

    def __init__(
        self,
        *,
        num_tokens: int = 512,
        num_quantizers: int = 7,
        token_dim: int = 512,
        text_dim: int = 512,
        dim: int = 384,
        num_layers: int = 6,
        num_heads: int = 6,
        hidden_dim: int = 1024,
        dropout: float = 0.2,
        share_weights: bool = True,
        fix_output_bias: bool = True,
        start: Start = "published",
    ) -> None:
        super().__init__(
            token_dim=token_dim,
            text_dim=text_dim,
            dim=dim,
            num_layers=num_layers,
            num_heads=num_heads,
            hidden_dim=hidden_dim,
            dropout=dropout,
            start=start,
        )
        if num_quantizers < 2:
            raise ValueError(f"num_quantizers is {num_quantizers}; residual layers need at least 2.")
        self.num_tokens, self.pad_id, self.num_quantizers = num_tokens, num_tokens, num_quantizers
        self.fix_output_bias = fix_output_bias
        self.embed_layer = nn.Linear(num_quantizers, dim)
        self.code = nn.Linear(dim, token_dim)
        self.initialize()
        if start == "same_scale":  # embeddings of size 1 are also what the features are multiplied by
            nn.init.normal_(self.code.weight, std=(dim * token_dim) ** -0.5)
        num_own = 1 if share_weights else num_quantizers - 1
        rows = num_tokens + 1

        def table(count: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(count, rows, token_dim) * self.embedding_std)

        self.token_table, self.output_table = table(num_own), table(num_own)
        self.shared_table = table(num_quantizers - 2) if share_weights else None
        self.output_bias = None if share_weights else nn.Parameter(torch.zeros(num_quantizers, rows))

    def embeddings(self) -> Tensor:
        """(Q - 1, K + 1, C) tables of layers 0 to Q - 2."""
        own = self.token_table
        return own if self.shared_table is None else torch.cat([own, self.shared_table])

    def outputs(self) -> Tensor:
        """(Q - 1, K + 1, C) tables of layers 1 to Q - 1."""
        own = self.output_table
        return own if self.shared_table is None else torch.cat([self.shared_table, own])

    def forward(self, ids: Tensor, layer: Tensor | int, text: Tensor, valid: Tensor) -> Tensor:
        """Logits (B, K + 1, N) of a layer.

        Args:
            ids: (B, N, Q') ids of the layers; those below `layer` are used.
            layer: 1 to Q - 1; one, or (B,).
            text: (B, C) pooled; zeros: no text.
            valid: (B, N) bool, True for real tokens.
        """
        layers = torch.as_tensor(layer, device=ids.device).expand(len(ids))
        tables, padded = self.embeddings(), torch.where(valid[..., None], ids, self.pad_id)
        depth = min(ids.shape[-1], len(tables), int(layers.max()))
        history = torch.zeros((), device=ids.device)
        for number in range(depth):
            is_below = (number < layers)[:, None, None]
            history = history + torch.where(is_below, F.embedding(padded[..., number], tables[number]), 0.0)
        onehot = F.one_hot(layers, self.num_quantizers).to(text)
        features = self.code(self.run(history, valid, [self.embed_text(text), self.embed_layer(onehot)]))
        logits = features @ self.outputs()[layers - 1].mT
        if self.output_bias is not None:
            logits = (logits if self.fix_output_bias else 2 * logits) + self.output_bias[layers - 1][:, None]
        return logits.transpose(1, 2)


class PooledLengthEstimator(nn.Module):
    """Predicts the length of a clip, in tokens, from a pooled text vector.

    Args:
        text_dim: channels of the vector.
        num_classes: number of classes; class k means k tokens.
        dropout: dropout after the first two layers.
    """

    def __init__(self, text_dim: int = 512, num_classes: int = 76, *, dropout: float = 0.2) -> None:
        super().__init__()
        self.num_classes = num_classes
        layers: list[nn.Module] = []
        width = text_dim
        for number, hidden in enumerate((512, 256, 128)):
            layers += [nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.LeakyReLU(LEAKY_SLOPE)]
            if number < 2:
                layers.append(nn.Dropout(dropout))
            width = hidden
        self.output = nn.Sequential(*layers, nn.Linear(width, num_classes))

    def forward(self, text: Tensor) -> Tensor:
        """Logits (B, classes) of pooled text vectors (B, C)."""
        return self.output(text)


_PUBLISHED_NAMES = {
    "input_process.poseEmbedding.": "embed.",
    "cond_emb.": "embed_text.",
    "output_process.dense.": "dense.",
    "output_process.LayerNorm.": "norm.",
    "seqTransEncoder.layers.": "layers.",
    "self_attn.in_proj_": "attention.qkv.",
    "self_attn.out_proj.": "attention.out.",
    "token_emb.": "token_embed.",
    "quant_emb.": "embed_layer.",
    "embed_proj_shared_weight": "shared_table",
    "token_embed_weight": "token_table",
    "output_proj_weight": "output_table",
    "output_proj_bias": "output_bias",
}


def translate_published(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights of a masked or residual transformer with the parameter names of this module."""
    final = "code." if any(key.startswith("quant_emb.") for key in weights) else "out."
    translated = {}
    for key, value in weights.items():
        name = key
        for published, ours in {**_PUBLISHED_NAMES, "output_process.poseFinal.": final}.items():
            name = name.replace(published, ours)
        if not name.startswith("position_enc"):
            translated[name.removesuffix("_")] = value
    return translated

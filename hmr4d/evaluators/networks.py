"""Networks that evaluate text-to-motion models, after Guo et al., "Generating Diverse and Natural 3D Human Motions from
Text", CVPR 2022.

A movement encoder converts four feature rows to one token. A motion encoder and a text encoder summarize tokens and
words in one embedding each; training brings a motion and its caption close together. The default sizes are the
published ones. Lengths may be in any order; results are in the order of the inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

LEAKY_SLOPE = 0.2  # negative slope of all LeakyReLUs
ROWS_PER_TOKEN = 4  # two convolutions of stride 2


class MovementEncoder(nn.Module):
    """Converts feature rows to movement tokens; token j depends on rows 4 j - 3 to 4 j + 6.

    Padding affects the result: the last token of a clip depends on up to three padded rows.

    Args:
        input_dim: D of the rows, without foot contacts.
        hidden_dim: channels between the two convolutions.
        output_dim: C of a token.
        dropout: dropout probability.
    """

    def __init__(
        self, input_dim: int = 259, hidden_dim: int = 512, output_dim: int = 512, *, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(input_dim, hidden_dim, 4, stride=2, padding=1)
        self.conv2 = nn.Conv1d(hidden_dim, output_dim, 4, stride=2, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.activation = nn.LeakyReLU(LEAKY_SLOPE)
        self.out = nn.Linear(output_dim, output_dim)
        self.apply(_initialize)

    def forward(self, features: Tensor) -> Tensor:
        """(B, L, D) normalized rows -> (B, L // 4, C) tokens."""
        x = features.transpose(1, 2)
        for conv in (self.conv1, self.conv2):
            x = self.activation(self.dropout(conv(x)))
        return self.out(x.transpose(1, 2))


class MovementDecoder(nn.Module):
    """Converts movement tokens back to feature rows; used only to train the movement encoder.

    Args:
        input_dim: C of a token.
        hidden_dim: channels between the two transposed convolutions.
        output_dim: D of the rows, foot contacts included.
    """

    def __init__(self, input_dim: int = 512, hidden_dim: int = 512, output_dim: int = 263) -> None:
        super().__init__()
        self.conv1 = nn.ConvTranspose1d(input_dim, hidden_dim, 4, stride=2, padding=1)
        self.conv2 = nn.ConvTranspose1d(hidden_dim, output_dim, 4, stride=2, padding=1)
        self.activation = nn.LeakyReLU(LEAKY_SLOPE)
        self.out = nn.Linear(output_dim, output_dim)
        self.apply(_initialize)

    def forward(self, movements: Tensor) -> Tensor:
        """(B, M, C) tokens -> (B, 4 M, D) rows."""
        x = movements.transpose(1, 2)
        for conv in (self.conv1, self.conv2):
            x = self.activation(conv(x))
        return self.out(x.transpose(1, 2))


class RecurrentSummary(nn.Module):
    """Bidirectional GRU with learned initial state; returns the concatenated last states of both directions.

    Args:
        dim: channels of the input and of each direction.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gru = nn.GRU(dim, dim, batch_first=True, bidirectional=True)
        self.initial_state = nn.Parameter(torch.randn(2, 1, dim))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, M, C) sequences of `lengths` (B,) between 1 and M, in any order -> (B, 2 C)."""
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, last = self.gru(packed, self.initial_state.expand(-1, len(x), -1).contiguous())
        return torch.cat([last[0], last[1]], -1)


class MotionEncoder(nn.Module):
    """Summarises movement tokens in one embedding.

    Args:
        input_dim: C of a token.
        hidden_dim: size of the GRU.
        output_dim: E of the embedding.
    """

    def __init__(self, input_dim: int = 512, hidden_dim: int = 1024, output_dim: int = 512) -> None:
        super().__init__()
        self.embed = nn.Linear(input_dim, hidden_dim)
        self.summary = RecurrentSummary(hidden_dim)
        self.head = nn.Sequential(*_dense(2 * hidden_dim, hidden_dim), nn.Linear(hidden_dim, output_dim))
        self.apply(_initialize)

    def forward(self, movements: Tensor, lengths: Tensor) -> Tensor:
        """(B, M, C) tokens, `lengths` (B,) in tokens -> (B, E)."""
        return self.head(self.summary(self.embed(movements), lengths))


class WordSummary(nn.Module):
    """Summarises words, or token states of a language model, in one vector; part of text encoder and length estimator.

    Args:
        input_dim: C of a word.
        pos_dim: number of part-of-speech classes; 0: words come without them.
        hidden_dim: H of the GRU.
    """

    def __init__(self, input_dim: int = 300, pos_dim: int = 15, hidden_dim: int = 512) -> None:
        super().__init__()
        self.embed_pos = nn.Linear(pos_dim, input_dim) if pos_dim else None
        self.embed = nn.Linear(input_dim, hidden_dim)
        self.summary = RecurrentSummary(hidden_dim)

    def forward(self, words: Tensor, lengths: Tensor, pos_onehot: Tensor | None = None) -> Tensor:
        """(B, N, C) words, (B, N, P) classes where the network has them, `lengths` (B,) in words -> (B, 2 H)."""
        if (pos_onehot is None) != (self.embed_pos is None):
            raise ValueError(
                "This text side has no part-of-speech classes; pass words alone."
                if self.embed_pos is None
                else f"This text side needs part-of-speech classes (B, N, {self.embed_pos.in_features}); got none."
            )
        if self.embed_pos is not None:
            words = words + self.embed_pos(pos_onehot)
        return self.summary(self.embed(words), lengths)


class TextEncoder(nn.Module):
    """Embeds words, or token states of a language model.

    Args:
        input_dim: C of a word: 300 for GloVe, 384 for the token states of the default text encoder.
        pos_dim: number of part-of-speech classes; 0: none.
        hidden_dim: size of the GRU.
        output_dim: E of the embedding.
    """

    def __init__(self, input_dim: int = 300, pos_dim: int = 15, hidden_dim: int = 512, output_dim: int = 512) -> None:
        super().__init__()
        self.words = WordSummary(input_dim, pos_dim, hidden_dim)
        self.head = nn.Sequential(*_dense(2 * hidden_dim, hidden_dim), nn.Linear(hidden_dim, output_dim))
        self.apply(_initialize)

    def forward(self, words: Tensor, lengths: Tensor, pos_onehot: Tensor | None = None) -> Tensor:
        """(B, N, C) words, (B, N, P) classes where the network has them, `lengths` (B,) in words -> (B, E)."""
        return self.head(self.words(words, lengths, pos_onehot))


class LengthEstimator(nn.Module):
    """Predicts the length of a motion, in movement tokens, from words.

    Args:
        input_dim, pos_dim, hidden_dim: as for `TextEncoder`.
        num_classes: number of classes; class k means 4 k rows.
    """

    def __init__(self, input_dim: int = 300, pos_dim: int = 15, hidden_dim: int = 512, num_classes: int = 50) -> None:
        super().__init__()
        self.words = WordSummary(input_dim, pos_dim, hidden_dim)
        half, quarter = hidden_dim // 2, hidden_dim // 4
        self.head = nn.Sequential(
            *_dense(2 * hidden_dim, hidden_dim),
            *_dense(hidden_dim, half),
            *_dense(half, quarter),
            nn.Linear(quarter, num_classes),
        )
        self.apply(_initialize)

    def forward(self, words: Tensor, lengths: Tensor, pos_onehot: Tensor | None = None) -> Tensor:
        """(B, N, C) words, (B, N, P) classes where the network has them, `lengths` (B,) in words -> (B, K) logits."""
        return self.head(self.words(words, lengths, pos_onehot))


def _dense(input_dim: int, output_dim: int) -> tuple[nn.Module, ...]:
    return nn.Linear(input_dim, output_dim), nn.LayerNorm(output_dim), nn.LeakyReLU(LEAKY_SLOPE)


def _initialize(module: nn.Module) -> None:
    """Initializes weights with Xavier's normal distribution and biases with zero, except recurrent and normalization
    layers."""
    if isinstance(module, (nn.Linear, nn.Conv1d, nn.ConvTranspose1d)):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

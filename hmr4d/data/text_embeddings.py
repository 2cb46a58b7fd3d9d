"""Text embeddings of a store's captions, made when they are first needed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from hmr4d.data.store import ClipStore, TextCache, write_text_cache

logger = logging.getLogger(__name__)


class CaptionEncoder(Protocol):
    """What makes embeddings; `hmr4d.nn.text.TextEncoder` is one."""

    name: str

    def encode(self, texts: list[str]) -> Any: ...  # with tokens (B, M, C), valid (B, M) and pooled (B, C)


def ensure_text_cache(
    store: ClipStore | str, encoder_name: str, build: Callable[[], CaptionEncoder] | None
) -> TextCache:
    """The text cache of a store by an encoder; it is created and saved if it does not exist.

    Args:
        store: store of the captions, or its folder.
        encoder_name: name of the encoder.
        build: creates the encoder, called only if there is something to encode; None: a missing cache is an error.

    Raises:
        FileNotFoundError: the cache is missing and there is no `build`; the message explains how to create it.
            ValueError: `build` creates an encoder of another name.
    """
    store = store if isinstance(store, ClipStore) else ClipStore.open(store)
    cache = store.text_cache(encoder_name)
    if cache is not None:
        return cache
    if build is None:
        raise FileNotFoundError(
            f"{store.path} contains no text cache of '{encoder_name}'. Create it with: hmr4d prepare text --store "
            f"{store.path} --text-encoder {encoder_name}"
        )
    logger.info(
        "%s has no text embeddings by '%s' yet: its %d captions are encoded once and saved in %s.",
        store.path,
        encoder_name,
        len(store.caption_texts),
        store.derived_folder,
    )
    encoder = build()
    if encoder.name != encoder_name:
        raise ValueError(f"Embeddings by '{encoder_name}' are requested, but the created encoder is '{encoder.name}'.")

    def encode(texts: list[str]) -> tuple[list[np.ndarray], np.ndarray]:
        features = encoder.encode(texts)
        states = [t[v].cpu().numpy() for t, v in zip(features.tokens, features.valid, strict=True)]
        return states, features.pooled.cpu().numpy()

    write_text_cache(store.path, encoder_name, encode)
    made = store.text_cache(encoder_name)
    assert made is not None  # it has just been written
    return made

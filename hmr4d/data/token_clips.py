"""Tokens of the clips of a 2D store as training items, from a cache on disk that needs no tokenizer."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from hmr4d.data.datasets import cell_weights
from hmr4d.data.keypoint_clips import UNIT_FRAMES, flip_keypoints
from hmr4d.data.store import KeypointStore, NoClipsError, TextCache
from hmr4d.data.text_embeddings import CaptionEncoder, ensure_text_cache
from hmr4d.utils.files import atomic_path
from hmr4d.utils.progress import progress
from hmr4d.utils.randomness import ItemRandom, mix_seed

logger = logging.getLogger(__name__)
LOOSE_SHARE = 1 / 3  # of the items: those that lose a token at one end


class Tokenizer(Protocol):
    """The tokenizer of the cache."""

    @property
    def num_quantizers(self) -> int: ...

    def tokenize(self, keypoints: Tensor) -> Tensor: ...  # (F, J + 1, 3) -> (N, Q)


class TokenCache:
    """Tokens of all clips of a store, and of their mirror images.

    Args:
        path: an .npz file that `write` wrote.

    Raises:
        FileNotFoundError: the file does not exist. ValueError: the file is not a token cache.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"Token cache not found: {path}.")
        try:
            with np.load(path, allow_pickle=False) as archive:
                self.ids, self.flipped, self.ends = (archive[k] for k in ("ids", "flipped", "ends"))
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"{path} is no token cache ({error}); delete it, and it is made again.") from error

    @property
    def num_quantizers(self) -> int:
        return self.ids.shape[1]

    def tokens(self, clip: int, *, flip: bool = False) -> NDArray[np.int16]:
        """(N, Q) tokens of a clip, or of its mirror image."""
        rows = slice(int(self.ends[clip]), int(self.ends[clip + 1]))
        return (self.flipped if flip else self.ids)[rows]

    @staticmethod
    def write(path: Path, store: KeypointStore, tokenizer: Tokenizer) -> None:
        """Tokenizes all clips of a store."""
        plain, mirrored, ends = [], [], [0]
        for clip in progress(range(len(store)), "tokens", unit="clip"):
            keypoints = torch.from_numpy(np.array(store.keypoints(clip)))
            keypoints = keypoints[: len(keypoints) // UNIT_FRAMES * UNIT_FRAMES]
            count = len(keypoints) // UNIT_FRAMES
            for rows, frames in ((plain, keypoints), (mirrored, flip_keypoints(keypoints, store.skeleton))):
                ids = tokenizer.tokenize(frames) if count else torch.zeros(0, tokenizer.num_quantizers)
                rows.append(ids.cpu().numpy().astype(np.int16))
            ends.append(ends[-1] + count)
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(
                stream, ids=np.concatenate(plain), flipped=np.concatenate(mirrored), ends=np.array(ends)
            )


def ensure_token_cache(store: KeypointStore, name: str, build: Callable[[], Tokenizer] | None) -> TokenCache:
    """The cache of a store by a tokenizer; it is created and saved next to the store if it does not exist.

    Args:
        store: store of the clips. name: name of the tokenizer, such as its checkpoint; another name or a changed store
            gives another cache. build: creates the tokenizer, called only without a cache; None: a missing cache is an
            error.
    """
    about = [name, len(store), int(np.sum(store.lengths)), store.info.get("source")]
    key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:12]
    path = store.derived_folder / f"tokens-{key}.npz"
    if not path.is_file():
        if build is None:
            raise FileNotFoundError(f"{store.path} contains no tokens by '{name}' ({path.name}); pass the tokenizer.")
        logger.info("%s has no tokens by '%s' yet: its %d clips are tokenized once.", store.path, name, len(store))
        path.parent.mkdir(parents=True, exist_ok=True)
        TokenCache.write(path, store, build())
    return TokenCache(path)


class TokenClips(Dataset[dict[str, Any]]):
    """Tokens of whole clips with a caption.

    Keys of an item: `tokens` (N, Q) int64, `length` N, `clip` int, `text` str, `caption` int, `text_pooled` (C,).

    Args:
        store: folder of a 2D store, or an open one.
        split: name of the split.
        tokenizer_name: name of the tokenizer, see `ensure_token_cache`. tokenizer_builder: creates it if there is no
            cache yet. text_encoder: name of the text cache to read. text_builder: creates that encoder if the store has
            no such cache yet. flip_prob: probability of a mirrored item with the mirrored caption.
        max_tokens: longer clips are cut there.
        is_random: whether items vary with their seed.
        seed: seed of items requested only by index.

    Raises:
        NoClipsError: no clip of the split has a caption.
        ValueError: a mirrored caption is missing.
    """

    def __init__(
        self,
        store: KeypointStore | str,
        split: str | None,
        *,
        tokenizer_name: str,
        text_encoder: str,
        tokenizer_builder: Callable[[], Tokenizer] | None = None,
        text_builder: Callable[[], CaptionEncoder] | None = None,
        flip_prob: float = 0.0,
        max_tokens: int = 75,
        is_random: bool = True,
        seed: int = 0,
    ) -> None:
        self.store = store if isinstance(store, KeypointStore) else KeypointStore.open(store)
        self.flip_prob, self.max_tokens, self.is_random, self.seed = flip_prob, max_tokens, is_random, seed
        self.cache = ensure_token_cache(self.store, tokenizer_name, tokenizer_builder)
        self.text_cache: TextCache = ensure_text_cache(self.store, text_encoder, text_builder)
        captions = {
            int(clip): [c.caption for c in self.store.clip_captions(clip)] for clip in self.store.indices(split)
        }
        self.clips = [clip for clip, rows in captions.items() if rows and len(self.cache.tokens(clip)) > 1]
        self.captions = [captions[clip] for clip in self.clips]
        if not self.clips:
            raise NoClipsError(f"No clip of {self.store.path}, split '{split}', has a caption and two tokens.")
        lost = [c for rows in self.captions for c in rows if self.store.caption_mirror[c] < 0]
        if flip_prob > 0 and lost:
            raise ValueError(
                f"{self.store.path} has no mirrored version of '{self.store.caption_texts[lost[0]]}'. Set "
                "flip_prob=0 or prepare the store with mirrored captions."
            )

    def __len__(self) -> int:
        return len(self.clips)

    def num_frames(self, index: int, seed: int | None = None) -> int:
        """Tokens of item `index`, at most."""
        return min(len(self.cache.tokens(self.clips[index])), self.max_tokens)

    def balance_weights(self, power: float = 0.5) -> np.ndarray:
        """(N,) sampling weights; see `MotionViews.balance_weights`."""
        return cell_weights(self.store, self.clips, power)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        """Item by index, or by (index, seed) for the training sampler."""
        index, seed = index if isinstance(index, tuple) else (index, mix_seed(self.seed, index))
        rng = ItemRandom.from_seed(seed)
        caption = rng.choices.choice(self.captions[index]) if self.is_random else self.captions[index][0]
        draws = rng.uniform(3).tolist()
        flip = self.is_random and draws[0] < self.flip_prob
        tokens = self.cache.tokens(self.clips[index], flip=flip)[: self.max_tokens]
        if self.is_random and draws[1] < LOOSE_SHARE and len(tokens) > 1:
            tokens = tokens[1:] if draws[2] < 0.5 else tokens[:-1]
        if flip:
            caption = self.store.caption_mirror[caption]
        return {
            "motion_tokens": torch.from_numpy(tokens.astype(np.int64)),
            "length": len(tokens),
            "clip": self.clips[index],
            "text": self.store.caption_texts[caption],
            "caption": caption,
            "text_pooled": torch.from_numpy(np.array(self.text_cache.pooled(caption), np.float32)),
        }

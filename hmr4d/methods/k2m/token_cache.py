"""Loads a trained tokenizer for the token cache of `hmr4d.data.token_clips`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hmr4d.data.token_clips import TokenClips
from hmr4d.methods.k2m.tokenizer import MotionTokenizer
from hmr4d.methods.k2m.weights import WEIGHTS
from hmr4d.utils.files import file_hash
from hmr4d.utils.weights import load_strictly, weights_file

_PREFIX = "tokenizer."  # prefix of its parameters in the whole network


def trained_tokenizer(path: str | Path | Sequence[str], tokenizer: MotionTokenizer) -> MotionTokenizer:
    """The tokenizer with trained weights, ready to tokenize.

    Args:
        path: checkpoint of a training run, release folder, or several files that form a model.
        tokenizer: tokenizer with the sizes of the weights; changed in place.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: no file contains a tokenizer of these sizes.
    """
    paths = [path] if isinstance(path, (str, Path)) else path
    state = {key: value for one in paths for key, value in WEIGHTS.read(one).items()}
    own = {key.removeprefix(_PREFIX): value for key, value in state.items() if key.startswith(_PREFIX)}
    load_strictly(tokenizer, own, (), source=str(path))
    return tokenizer.eval()


def token_clips(
    store: str, split: str | None, *, tokenizer_path: str | None, tokenizer: MotionTokenizer, **options: Any
) -> TokenClips:
    """Training items of the tokens of a trained tokenizer.

    Args:
        store, split: see `TokenClips`.
        tokenizer_path: checkpoint or release folder of the tokenizer.
        tokenizer: tokenizer of the same sizes; its weights are replaced if the cache must be computed.
        options: other options of `TokenClips`.

    Raises:
        ValueError: no checkpoint is given.
        FileNotFoundError: the checkpoint does not exist.
    """
    if tokenizer_path is None:
        raise ValueError("No tokenizer is given; train one with exp=k2m/tokenizer_..., then set tokenizer_path=<it>.")
    file = weights_file(tokenizer_path)
    if not file.is_file():
        raise FileNotFoundError(f"Tokenizer not found: {file}. Give a checkpoint or a release folder.")
    build = partial(trained_tokenizer, tokenizer_path, tokenizer)
    return TokenClips(store, split, tokenizer_name=file_hash(file), tokenizer_builder=build, **options)

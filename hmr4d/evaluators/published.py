"""Files and parameter names of published evaluator checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from hmr4d.evaluators.networks import (
    LengthEstimator,
    MotionEncoder,
    MovementDecoder,
    MovementEncoder,
    TextEncoder,
)
from hmr4d.utils.weights import DAMAGED, load_inert, load_strictly, short_reason

MATCHING_FILE = Path("text_mot_match/model/finest.tar")  # text_encoder, motion_encoder, movement_encoder
LENGTH_FILE = Path("length_est_bigru/model/finest.tar")  # estimator
AUTOENCODER_FILE = Path("Decomp_SP001_SM001_H512/model/latest.tar")  # movement_enc, movement_dec

_WORDS = {
    "hidden": "words.summary.initial_state",
    "gru": "words.summary.gru",
    "pos_emb": "words.embed_pos",
    "input_emb": "words.embed",
}
# First parts of published parameter names -> first parts in this package.
_NAMES: dict[type[nn.Module], dict[str, str]] = {
    MovementEncoder: {"main.0": "conv1", "main.3": "conv2", "out_net": "out"},
    MovementDecoder: {"main.0": "conv1", "main.2": "conv2", "out_net": "out"},
    MotionEncoder: {
        "hidden": "summary.initial_state",
        "gru": "summary.gru",
        "input_emb": "embed",
        "output_net": "head",
    },
    TextEncoder: {**_WORDS, "output_net": "head"},
    LengthEstimator: {**_WORDS, "output": "head"},
}


def translate(state: Mapping[str, Tensor], network: type[nn.Module]) -> dict[str, Tensor]:
    """Published parameters with the names of a network class of this package; unknown names are kept."""
    names = _NAMES[network]
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        known = next((p for p in names if key == p or key.startswith(p + ".")), None)
        out[key if known is None else names[known] + key.removeprefix(known)] = value
    return out


def load_published(path: str | Path, networks: Mapping[str, nn.Module]) -> None:
    """Loads parameters from a published file into networks.

    Args:
        path: path, such as `MATCHING_FILE` in the folder of the published evaluators.
        networks: key in the file -> network.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is damaged, or its parameters do not match.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"Published evaluator not found: {path}. Run `hmr4d download t2m-evaluators`, or put the file there."
        )
    try:
        content = load_inert(path)
        if not isinstance(content, dict):
            raise TypeError(f"it contains a {type(content).__name__} instead of a table of networks")
        states = {key: _parameters(content, key) for key in networks}
    except DAMAGED as error:
        raise ValueError(
            f"{path} is not a readable evaluator checkpoint ({short_reason(error)}). Expected the published file with "
            f"{', '.join(networks)}; download it again."
        ) from error
    for key, network in networks.items():
        load_strictly(network, translate(states[key], type(network)), (), source=f"'{key}' of {path}")


def _parameters(content: Mapping[str, object], key: str) -> dict[str, Tensor]:
    """The parameters of one network of a file, float32."""
    if key not in content:
        raise KeyError(f"no '{key}' among {sorted(map(str, content))}")
    state = content[key]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise TypeError(f"'{key}' is not a table of parameters")
    return {name: value.float() for name, value in state.items()}

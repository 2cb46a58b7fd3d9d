"""Parameters from files: safe reading, strict loading, one hash for what was loaded."""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hmr4d.utils import inert_pickle
from hmr4d.utils.safe_pickle import UNREADABLE

logger = logging.getLogger(__name__)

WEIGHTS_NAME = "model.safetensors"  # in the folder of a released model

# What reading a damaged file or one of another kind raises.
DAMAGED = (*UNREADABLE, SafetensorError, RuntimeError, OSError, LookupError)


def load_inert(path: Path) -> Any:
    """Contents of a checkpoint without running anything in it; objects of foreign classes become placeholders."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # damaged, or it brings more than weights, such as the options of its training
        content = torch.load(path, map_location="cpu", weights_only=False, pickle_module=inert_pickle)
        logger.info("%s contains objects that are not weights; they are ignored.", path)
        return content


def short_reason(error: BaseException) -> str:
    """Kind and first line of an error, for a sentence about a damaged file."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:140]


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Every tensor by name of a Lightning checkpoint, a .safetensors file (as float32) or the folder of a release.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged.
    """
    path = weights_file(path)
    if not path.is_file():
        raise FileNotFoundError(f"Checkpoint not found: {path}. Give a .ckpt or .safetensors file, or its folder.")
    try:
        if path.suffix == ".safetensors":
            return {k: v.float() for k, v in load_file(path).items()}
        state = load_inert(path)["state_dict"]
        if not isinstance(state, dict):
            raise TypeError(f"'state_dict' is {type(state).__name__}")
        return {k: v for k, v in state.items() if isinstance(k, str) and isinstance(v, Tensor)}
    except DAMAGED as error:
        raise ValueError(
            f"{path} is no readable checkpoint ({short_reason(error)}). "
            "Expected a Lightning checkpoint with 'state_dict' or a safetensors file; copy or download it again."
        ) from error


def weights_file(path: str | Path) -> Path:
    """The file with the weights: the path itself, or WEIGHTS_NAME in a folder."""
    return Path(path) / WEIGHTS_NAME if Path(path).is_dir() else Path(path)


def part_of_state(state: Mapping[str, Tensor], prefix: str, *, path: str | Path) -> dict[str, Tensor]:
    """The tensors of one part of a module, without `prefix`; a .safetensors file contains nothing else and has no
    prefix.

    Raises:
        ValueError: none is there.
    """
    path = weights_file(path)
    whole = path.suffix == ".safetensors"
    part = {k.removeprefix(prefix): v for k, v in state.items() if whole or k.startswith(prefix)}
    if not part:
        raise ValueError(f"{path} contains no parameters named {prefix}*; it is not a checkpoint of this method.")
    return part


def load_strictly(module: nn.Module, weights: Mapping[str, Tensor], may_lack: Sequence[str], *, source: str) -> None:
    """Loads weights; only parameters with a part named in `may_lack` may be missing, nothing may be left over."""
    wanted = module.state_dict()
    missing = [k for k in wanted if k not in weights]
    excused = [k for k in missing if any(part in may_lack for part in k.split("."))]
    unexpected = [k for k in weights if k not in wanted]
    misshapen = [
        f"{k} is {tuple(weights[k].shape)}, expected {tuple(v.shape)}"
        for k, v in wanted.items()
        if k in weights and weights[k].shape != v.shape
    ]
    problems = [f"missing {k}" for k in missing if k not in excused]
    problems += [f"unexpected {k}" for k in unexpected] + misshapen
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise ValueError(f"{source} does not fit this network: {shown}. Choose the network of the checkpoint.")
    if excused:
        logger.info("%s starts the network; %d parameters are new.", source, len(excused))
    module.load_state_dict(dict(weights), strict=False)


def hash_weights(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, shapes and float32 values, in the order of the names; precision on disk changes nothing."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().cpu().float().contiguous()
        digest.update(f"{name} {tuple(value.shape)}\n".encode())
        digest.update(value.numpy().astype("<f4").tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class WeightFiles:
    """How the parameters of a method's network lie in files.

    Attributes:
        network: attribute of the pipeline that is the network; checkpoints call its parameters "pipeline.<network>.*".
        new_in_views: parts that a network of several views adds to that of one, so that one may start several.
        added_later: parts that a further training adds to a trained network.
        num_files: files that are given for each `ckpt_type`; later ones win where several have a parameter.
        translate: function from the tensors of a file to parameters with names of hmr4d; None for files with these
            names.
    """

    network: str = "network"
    new_in_views: tuple[str, ...] = ()
    added_later: tuple[str, ...] = ()
    num_files: Mapping[str, int] = field(default_factory=lambda: {"pl": 1})
    translate: Callable[[Mapping[str, Tensor]], dict[str, Tensor] | None] | None = None

    def network_of(self, pipeline: nn.Module) -> nn.Module:
        """The network of a pipeline."""
        return getattr(pipeline, self.network)

    def read(self, path: str | Path) -> dict[str, Tensor]:
        """Parameters, with names of hmr4d, of a Lightning checkpoint, a .safetensors file or its folder, or a published
        file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged or contains no parameters of this network.
        """
        state = read_state(path)
        translated = None if self.translate is None else self.translate(state)
        return part_of_state(state, f"pipeline.{self.network}.", path=path) if translated is None else translated

    def load(
        self,
        pipeline: nn.Module,
        path: str | Path | Sequence[str | Path],
        ckpt_type: str = "pl",
        *,
        is_start: bool = False,
    ) -> None:
        """Loads the weights of a network, all or nothing.

        Args:
            pipeline: pipeline whose network is filled in place.
            path: checkpoint or released folder; several if `ckpt_type` takes several.
            ckpt_type: key of `num_files`.
            is_start: for the start of a training: parameters of `added_later` may be missing, and in a network of
                several views (`use_views`) those of `new_in_views`; otherwise every parameter must exist.

        Raises:
            ValueError: unknown type, wrong number of files, missing, unexpected or misshapen parameters.
        """
        if ckpt_type not in self.num_files:
            raise ValueError(f"Unknown ckpt_type '{ckpt_type}'; this method supports {list(self.num_files)}.")
        paths = [path] if isinstance(path, (str, Path)) else list(path)
        if len(paths) != self.num_files[ckpt_type]:
            takes = ", ".join(f"{name} takes {count}" for name, count in self.num_files.items())
            raise ValueError(f"ckpt_type '{ckpt_type}' got {len(paths)} path(s); {takes}.")
        weights: dict[str, Tensor] = {}
        for one in paths:
            weights |= self.read(one)
        network = self.network_of(pipeline)
        allowed = self.added_later + (self.new_in_views if getattr(network, "use_views", False) else ())
        load_strictly(network, weights, allowed if is_start else (), source=str(path))

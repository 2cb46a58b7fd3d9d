"""Trainings of the study, in the order in which they run, from its configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hmr4d.data.store import MotionStore
from hmr4d.engine.compose import compose_config

SEEN, UNSEEN = "seen", "unseen"
SEES = (SEEN, "all")
Subsets = dict[str, list[int]]  # name -> indices in a set


@dataclass(frozen=True)
class Group:
    """A group of clips excluded from the 3D stage.

    Attributes:
        name: name of the group.
        labels: label kind -> values; a clip with one of these values belongs to the group.
    """

    name: str
    labels: dict[str, list[str]]

    def holds(self, store: MotionStore, clip: int) -> bool:
        """Whether a clip belongs to the group."""
        return any(store.labels[kind][clip] in values for kind, values in self.labels.items())


@dataclass(frozen=True)
class Training:
    """One training with one seed.

    Attributes:
        name: name in the configuration.
        seed: seed of all random draws.
        folder: its `output_dir`.
        steps: optimizer steps.
        words: overrides for hmr4d train.
    """

    name: str
    seed: int
    folder: Path
    steps: int
    words: tuple[str, ...]

    @property
    def checkpoint(self) -> Path:
        """Path of its newest checkpoint."""
        return self.folder / "checkpoints" / "last.ckpt"

    def compose(self) -> DictConfig:
        """Its composed configuration."""
        return compose_config(list(self.words))


def held_out(cfg: DictConfig) -> list[Group]:
    """The groups excluded from the 3D stage. Raises ValueError if one is unknown."""
    if not cfg.holdout or set(cfg.holdout) - set(cfg.holdouts):
        raise ValueError(f"holdout is {list(cfg.holdout)}; give one or more of {sorted(cfg.holdouts)}.")
    return [Group(name, OmegaConf.to_container(cfg.holdouts[name].labels)) for name in cfg.holdout]  # type: ignore[arg-type]


def subsets_of(store: MotionStore, clips: Sequence[int], groups: Sequence[Group]) -> Subsets:
    """Indices of the clips in no group, in any group and, for several groups, in each group."""
    inside = {group.name: [i for i, clip in enumerate(clips) if group.holds(store, clip)] for group in groups}
    unseen = sorted({i for places in inside.values() for i in places})
    subsets = {SEEN: sorted(set(range(len(clips))) - set(unseen)), UNSEEN: unseen}
    return subsets | (inside if len(groups) > 1 else {})


def plan(cfg: DictConfig) -> Iterator[Training]:
    """All trainings that the arms need, seed by seed. A training follows the one whose weights it starts from."""
    if not cfg.seeds or not cfg.arms:
        raise ValueError(f"seeds is {list(cfg.seeds)} and arms is {list(cfg.arms)}; give at least one of each.")
    names: list[str] = []
    for arm in cfg.arms:
        names += [name for name in chain(cfg, arm) if name not in names]
    for seed in cfg.seeds:
        for name in names:
            yield training(cfg, name, seed)


def chain(cfg: DictConfig, name: str) -> list[str]:
    """Names of the successive trainings that end with `name`. Raises ValueError if a training is unknown."""
    if name not in cfg.trainings:
        raise ValueError(f"There is no training '{name}'; known: {sorted(cfg.trainings)}.")
    start = cfg.trainings[name].get("start")
    return [*(chain(cfg, start) if start else []), name]


def training(cfg: DictConfig, name: str, seed: int) -> Training:
    """A training of the configuration for one seed."""
    spec = cfg.trainings[name]
    if spec.sees not in SEES:
        raise ValueError(f"Training '{name}' has sees='{spec.sees}'; choose one of {', '.join(SEES)}.")
    if wrong := sorted(set(spec.steps) - set(cfg.steps)):
        raise ValueError(f"Training '{name}' has the unknown budgets {wrong}; `steps` defines {sorted(cfg.steps)}.")
    folder = Path(cfg.output_dir) / f"seed{seed}" / name
    steps = sum(cfg.steps[budget] for budget in spec.steps)
    words = [
        f"exp={spec.exp}",
        f"seed={seed}",
        f"output_dir={folder}",
        f"paths.inputs={cfg.paths.inputs}",
        f"trainer.max_steps={steps}",
        "+trainer.enable_progress_bar=false",
    ]
    if spec.sees == SEEN:
        words.append(f"data.train.rules.exclude_labels={flow(excluded(held_out(cfg)))}")
    if not all(cfg.holdouts[group].get("mirror", True) for group in cfg.holdout):
        words.append("data.train.mirror_prob=0")
    if spec.get("start"):
        words.append(f"ckpt_path={training(cfg, spec.start, seed).checkpoint}")
    return Training(name, seed, folder, steps, (*words, *cfg.overrides, *spec.get("overrides", ())))


def excluded(groups: Sequence[Group]) -> dict[str, list[str]]:
    """Label kind -> values of all groups together."""
    merged: dict[str, list[str]] = {}
    for group in groups:
        for kind, values in group.labels.items():
            merged.setdefault(kind, []).extend(values)
    return merged


def flow(value: dict[str, list[str]]) -> str:
    """A mapping of lists in the notation of the command line."""
    return "{" + ",".join(f"{kind}:[{','.join(values)}]" for kind, values in value.items()) + "}"


def settings(cfg: DictConfig) -> dict[str, Any]:
    """The part of a composed configuration that determines the training, as plain data."""
    plain: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    return {key: plain[key] for key in ("seed", "model", "data", "trainer")} | {"ema": plain["callbacks"]["ema"]}

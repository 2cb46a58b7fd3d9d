"""Runs the trainings of the study and generates the motions of its arms. Finished parts are not repeated."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from hmr4d.data.action_labels import labeled_clips
from hmr4d.data.store import MotionStore
from hmr4d.engine.compose import load_config
from hmr4d.engine.run import finished_steps
from hmr4d.engine.run import run as run_configuration
from hmr4d.evaluation.action_recognition import LabeledMotion
from hmr4d.evaluation.prompt_sets import PromptSet, caption_set, spread
from hmr4d.evaluation.quality_models import Draw, generate, load_checkpoint
from hmr4d.evaluation.study.plan import SEEN, UNSEEN, Group, Training, plan, settings, subsets_of, training
from hmr4d.utils.devices import pick_device

logger = logging.getLogger(__name__)


def train_once(run: Training) -> bool:
    """Trains or continues a training; returns False if it was already complete.

    Raises:
        FileExistsError: the folder contains a training with other settings.
    """
    cfg = run.compose()
    if run.checkpoint.is_file():
        saved = load_config(run.folder / "config.yaml")
        if settings(saved) != settings(cfg):
            raise FileExistsError(
                f"{run.folder} contains a training with other settings. Choose another folder with output_dir=, or "
                "remove this one."
            )
        done = finished_steps(run.checkpoint)
        if done >= run.steps:
            return False
        cfg.resume_training = True
    logger.info("Seed %d, %s: %d steps.", run.seed, run.name, run.steps)
    run_configuration(cfg)
    return True


def open_store(cfg: DictConfig) -> MotionStore:
    """The store that the trainings read."""
    composed = next(plan(cfg)).compose()
    return MotionStore.open(composed.data.train.store)


def seconds_range(cfg: DictConfig) -> tuple[float, float]:
    """Shortest and longest motion of the trainings."""
    motion = next(plan(cfg)).compose().motion
    return motion.min_seconds, motion.max_seconds


def prompts_of(cfg: DictConfig, store: MotionStore, groups: list[Group]) -> PromptSet:
    """Captions of the split: at most `sampling.max_seen` of clips outside the groups, and all of clips in the groups.

    Raises:
        ValueError: the store lacks the label kind of a group, or the split has no clip of a group.
    """
    kinds = {kind for group in groups for kind in group.labels}
    if kinds - store.labels.keys():
        raise ValueError(f"The groups need labels of {sorted(kinds)}; {store.name} has {sorted(store.labels)}.")
    split = cfg.sampling.split
    whole = caption_set(store, split, seconds_range(cfg), None)
    subsets = subsets_of(store, labeled_clips(store, split).tolist(), groups)
    if empty := [name for name, places in subsets.items() if not places]:
        raise ValueError(
            f"Split '{split}' of {store.name} has no clip of {', '.join(empty)}; choose another holdout or "
            "sampling.split."
        )
    seen = [subsets[SEEN][i] for i in spread(len(subsets[SEEN]), cfg.sampling.max_seen)]
    chosen = sorted([*seen, *subsets[UNSEEN]])
    return PromptSet(
        whole.name,
        prompts=[whole.prompts[i] for i in chosen],
        contents=[whole.contents[i] for i in chosen],
        seconds=[whole.seconds[i] for i in chosen],
        numbers=chosen,
    )


def sample_arm(cfg: DictConfig, arm: str, seed: int, prompts: PromptSet) -> LabeledMotion:
    """Motions of an arm in the order of the prompts; generated once, then read from OUTPUT_DIR/motions."""
    run = training(cfg, arm, seed)
    if not run.checkpoint.is_file() or finished_steps(run.checkpoint) < run.steps:
        raise ValueError(f"Arm {arm} with seed {seed} is not trained to its {run.steps} steps. Run hmr4d study first.")
    model = load_checkpoint(run.checkpoint, None, [], pick_device("auto"))
    draw = Draw(1, cfg.sampling.steps, cfg.sampling.guidance)
    return generate(model, prompts, seed, draw, Path(cfg.output_dir) / "motions" / f"seed{seed}" / arm)


def train_and_sample(cfg: DictConfig, prompts: PromptSet) -> None:
    """Runs all trainings; generates the motions of an arm as soon as it is trained."""
    for run in plan(cfg):
        train_once(run)
        if run.name in cfg.arms:
            sample_arm(cfg, run.name, run.seed, prompts)

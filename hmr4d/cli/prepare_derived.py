"""Subcommands of `prepare` without a new store: text adapters, pose priors, packs, statistics and networks."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.joint_conventions import convention_of, source_convention
from hmr4d.body.pose_limits import fit_pose_limits, save_pose_limits
from hmr4d.body.pose_prior import fit_pose_prior
from hmr4d.body.skeleton import SMPL22
from hmr4d.data.pack_store import pack_store
from hmr4d.data.packed_joints import STEP
from hmr4d.data.store import MotionStore
from hmr4d.detection.conversion import convert_detector
from hmr4d.export.amass_npz import axis_angles
from hmr4d.methods.defaults import STATISTICS_EXPERIMENT
from hmr4d.reference_motion.motion_sources import gather_motions, read_motion_source
from hmr4d.utils.places import inputs_folder
from hmr4d.utils.progress import progress

STATISTICS_FILE = "motion2d_statistics.npz"  # in a store; configs/data reads it there
Commands = argparse._SubParsersAction


class Derived(NamedTuple):
    """A created file or folder.

    Attributes:
        path: its path.
        story: its content and measurements, one line each.
    """

    path: Path
    story: list[str]


def add_derived(commands: Commands) -> None:
    """The sub-commands of this module."""
    _add_text_adapter(commands)
    _add_pose_prior(commands)
    _add_pack(commands)
    _add_statistics(commands)
    _add_detector(commands)
    _add_pose_limits(commands)


def _add_text_adapter(commands: Commands) -> None:
    help_text = "train a text adapter on captions, and list the known actions"
    command = commands.add_parser(
        "text-adapter",
        help=help_text,
        description=help_text + ".",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    command.set_defaults(run=_run_text_adapter, text_encoder=None)
    command.add_argument("--store", type=Path, nargs="+", required=True, help="folders of stores with cached text")
    command.add_argument(
        "--encoder",
        metavar="NAME",
        default="minilm_layers",
        help="text encoder of the cache: minilm_layers, minilm or clip",
    )
    command.add_argument(
        "--out",
        type=Path,
        default=inputs_folder() / "text_adapter",
        help="folder of text_adapter.safetensors and actions.safetensors",
    )
    command.add_argument("--adapter", type=Path, help="a trained adapter for which only the known actions are computed")
    command.add_argument(
        "--like",
        type=Path,
        metavar="ADAPTER",
        help="rotate the result to the directions of this adapter, so that a model trained with it can be trained on",
    )
    command.add_argument("--dim", type=int, default=384, help="width of the adapted vector")
    command.add_argument("--seed", type=int, default=0, help="of the training")
    command.add_argument("--steps", type=int, default=1000, help="of the training; the recognizers take fewer anyway")
    command.add_argument(
        "--folds", type=int, default=3, help="number of trainings for the distance limit of prompts; 0: none"
    )
    command.add_argument(
        "--prompts",
        type=Path,
        nargs="*",
        default=[],
        metavar="YAML",
        help="label -> held-out prompts; prints for how many the most probable action is correct",
    )


def _run_text_adapter(args: argparse.Namespace) -> Derived:
    from hmr4d.evaluation.prompt_sets import read_prompts
    from hmr4d.nn.action_index import FILE_NAME, ActionIndex, build_action_index, check_far, prototypes_of
    from hmr4d.nn.action_recognizer import RecognizerTraining, fit_recognizer
    from hmr4d.nn.motion_recognizer import TRAINING, fit_motion_recognizer
    from hmr4d.nn.text import build_text_encoder
    from hmr4d.nn.text_adapter import (
        ADAPTER_NAME,
        AdapterTraining,
        TextAdapter,
        fit_text_adapter,
        read_captions,
        rotated_like,
    )

    captions = read_captions(args.store, args.encoder)
    training = AdapterTraining(seed=args.seed, steps=args.steps)
    check = check_far(captions, training, folds=args.folds, dim=args.dim) if args.folds else None
    adapter = TextAdapter.load(args.adapter) if args.adapter else fit_text_adapter(captions, training, dim=args.dim)
    if args.like:
        adapter = rotated_like(adapter, TextAdapter.load(args.like), captions)
    by_text, by_motion = (
        replace(options, seed=args.seed, steps=min(options.steps, args.steps))
        for options in (RecognizerTraining(), TRAINING)
    )
    recognizer = fit_recognizer(captions, by_text)
    index = build_action_index(
        args.store,
        captions,
        adapter=adapter,
        recognizer=recognizer,
        motion_recognizer=fit_motion_recognizer(args.store, training=by_motion),
        check=check,
    )
    story = [f"{len(captions)} captions of {len(index.actions)} actions in {len(index.groups())} groups"]
    if check is not None:
        story.append(
            f"far prompts: AUC {check.auc:.3f}; below {check.threshold:.3f} are {check.false_alarms:.1%} of held-out "
            f"sentences of known actions and {check.caught:.1%} of those of unknown ones"
        )
    if args.prompts:
        encoder = build_text_encoder(args.encoder)
        plain = ActionIndex(index.actions, prototypes_of(captions)[1])
        adapted = ActionIndex(index.actions, index.prototypes, adapter=adapter)
        for path in args.prompts:
            prompts = [(label, text) for label, texts in read_prompts(path).items() for text in texts]
            pooled = encoder.encode([text for _, text in prompts]).pooled
            labels = [label for label, _ in prompts]
            encoder_alone, with_adapter, both = (known.accuracy(pooled, labels) for known in (plain, adapted, index))
            story.append(
                f"{path.name}: most probable action is correct for {encoder_alone:.1%} by the encoder alone, "
                f"{with_adapter:.1%} with the adapter, {both:.1%} with adapter and recognizer"
            )
    adapter.save(args.out / ADAPTER_NAME)
    index.save(args.out / FILE_NAME)
    return Derived(args.out, story)


def _add_pose_prior(commands: Commands) -> None:
    help_text = "compute a pose prior from the train clips of a store, for lifting without networks"
    command = commands.add_parser(
        "pose-prior",
        help=help_text,
        description=help_text + ".",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    command.set_defaults(run=_run_pose_prior, text_encoder=None)
    command.add_argument("--store", type=Path, required=True, help="folder of the store")
    command.add_argument("--out", type=Path, default=inputs_folder() / "pose_prior.npz", help="file to write")
    command.add_argument("--clips", type=int, default=400, help="most clips to learn from, evenly spread")
    command.add_argument("--size", type=int, default=1024, help="poses in the bank")


def _run_pose_prior(args: argparse.Namespace) -> Derived:
    store = MotionStore.open(args.store)
    if store.skeleton.name != SMPL22.name:
        raise ValueError(f"{args.store} contains '{store.skeleton.name}' joints; a pose prior needs '{SMPL22.name}'.")
    clips = store.indices("train" if "train" in store.splits else None)
    clips = clips[:: max(1, -(-len(clips) // args.clips))]
    prior = fit_pose_prior(
        (store.joints3d(int(clip)) for clip in progress(clips, "poses", unit="clip")),
        size=args.size,
        joint_convention=convention_of(store.info) or source_convention(store.name),
        source=f"{store.name}, {len(clips)} clips; {store.info.get('licence', 'licence unknown')}",
    )
    prior.save(args.out)
    return Derived(args.out, [f"{len(prior.rotations)} poses from {prior.source}"])


def _add_pack(commands: Commands) -> None:
    help_text = "make a small copy of a store, to be passed on: joints rounded and compressed into one file"
    command = commands.add_parser(
        "pack", help=help_text, description=help_text + ".", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    command.set_defaults(run=_run_pack, text_encoder=None)
    command.add_argument("--store", type=Path, required=True, help="folder of the store")
    command.add_argument("--out", type=Path, required=True, help="folder to write")
    command.add_argument("--step", type=float, default=STEP, help="meters; joints are off by at most half of it")
    command.add_argument("--overwrite", action="store_true", help="replace an existing file")


def _run_pack(args: argparse.Namespace) -> Derived:
    path = pack_store(args.store, args.out, step=args.step, overwrite=args.overwrite)
    size = sum(file.stat().st_size for file in path.iterdir()) / 1e6
    return Derived(path, [f"{size:.1f} MB, joints off by at most {500 * args.step:g} mm"])


def _add_statistics(commands: Commands) -> None:
    help_text = "measure mean and deviation of the 2D features that an experiment trains on"
    command = commands.add_parser(
        "statistics",
        help=help_text,
        description=help_text + ".",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    command.set_defaults(run=_run_statistics, text_encoder=None)
    command.add_argument("--exp", default=STATISTICS_EXPERIMENT, help="experiment whose items are measured")
    command.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="overrides, such as data=cmu")
    command.add_argument("--store", type=Path, help="store folder; None: that of the experiment")
    command.add_argument(
        "--out", type=Path, help=f".npz file; default {STATISTICS_FILE} in the store, which trainings on it use"
    )
    command.add_argument("--items", type=int, default=1500, help="number of random items")
    command.add_argument("--seed", type=int, default=0, help="random seed")


def _run_statistics(args: argparse.Namespace) -> Derived:
    from hydra.utils import instantiate

    from hmr4d.data.feature_statistics import measure_statistics
    from hmr4d.engine.compose import compose_config

    cfg = compose_config([f"exp={args.exp}", *args.set])
    cfg.data.train.text_encoder = None
    if args.store is not None:
        cfg.data.train.store = str(args.store)
    out = args.out or Path(cfg.data.train.store) / STATISTICS_FILE
    statistics = measure_statistics(
        instantiate(cfg.data.train, _convert_="all")(),
        name=out.stem,
        num_items=args.items,
        balance_power=cfg.data.balance_power,
        seed=args.seed,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    statistics.save(out)
    return Derived(out, [f"mean and deviation of {statistics.mean.size} features in {args.items} items"])


def _add_detector(commands: Commands) -> None:
    about = "convert the published networks of the 2D detector"
    command = commands.add_parser("detector", help=about, description=about + ": docs/detect.md.")
    command.set_defaults(run=_run_detector, text_encoder=None)
    command.add_argument(
        "--from",
        dest="archives",
        type=Path,
        nargs="+",
        required=True,
        metavar="ARCHIVE",
        help="wheels, npm packages or folders with the .tflite files and their LICENSE",
    )
    command.add_argument("--out", type=Path, required=True, help="folder to write")


def _run_detector(args: argparse.Namespace) -> Derived:
    return Derived(args.out, [f"the networks {', '.join(convert_detector(args.archives, args.out))}"])


def _add_pose_limits(commands: Commands) -> None:
    about = "measure how far joints turn in poses of the SMPL family"
    command = commands.add_parser(
        "pose-limits",
        help=about,
        description=about + ": a table for pipeline.training.pose_limits.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    command.set_defaults(run=_run_pose_limits, text_encoder=None)
    command.add_argument(
        "motions", nargs="+", type=Path, metavar="MOTION", help="files with poses, and folders of them"
    )
    command.add_argument("--out", type=Path, default=inputs_folder() / "pose_limits.json", help="file to write")
    command.add_argument("--percentile", type=float, default=0.1, help="share in percent left out at each end")
    command.add_argument("--margin", type=float, default=0.1, help="radians beyond the percentiles")


def _run_pose_limits(args: argparse.Namespace) -> Derived:
    files = gather_motions(args.motions)
    poses = [_axis_angles(path) for path in progress(files, "poses", unit="file")]
    table = fit_pose_limits(np.concatenate(poses), percentile=args.percentile, margin=args.margin)
    origin = f"{sum(map(len, poses))} poses of {len(files)} files, {args.percentile:g} % left out at each end"
    save_pose_limits(args.out, table, f"{origin}, {args.margin:g} rad of margin")
    return Derived(args.out, [f"limits of {len(table)} joints from {origin}"])


def _axis_angles(path: Path) -> NDArray[np.float32]:
    """(L, 63) axis-angle of the joints below the root; ValueError for a motion that has no pose."""
    pose = read_motion_source(path).pose
    if pose is None:
        raise ValueError(
            f"{path} contains joints without rotations. Fit a body to it first: hmr4d fit {path} --body smpl."
        )
    return axis_angles(pose.rotations[:, 1:])

"""Task `test` of lifting: all methods, with or without a network, lift the same clips and share one protocol."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from hmr4d.body.pose_prior import PosePrior
from hmr4d.engine.compose import listed
from hmr4d.engine.run import build, starting_weights
from hmr4d.evaluation.callbacks.metric_lift import FOLDER_NAME, CardMetadata, LiftSource, MetricLift
from hmr4d.evaluation.cards import LiftingCard
from hmr4d.evaluation.generations import MANIFEST_NAME, GenerationFolder, differing
from hmr4d.evaluation.lifting_data import ScoredLifts
from hmr4d.evaluation.text_to_motion_test import command_of, refuse_missing, weight_files
from hmr4d.export.saved_motions import SavedMotions
from hmr4d.methods.registry import check_current_name, get_method, untrained_methods
from hmr4d.utils.files import file_hash
from hmr4d.utils.progress import progress
from hmr4d.utils.releases import CONFIG_NAME

logger = logging.getLogger(__name__)

MODEL = "model"
UNKNOWN = "unrecorded data"
GIVEN = "given"  # row of externally lifted motions


def methods_of(cfg: DictConfig) -> list[str]:
    """The methods that a test compares, in order. Raises ValueError with the known methods if one is unknown."""
    wanted = [cfg.method] if isinstance(cfg.method, str) else list(cfg.method or [])
    for method in wanted:
        check_current_name(method)
    known = (MODEL, *untrained_methods())
    if not wanted or not set(wanted) <= set(known):
        raise ValueError(
            f"method is {cfg.method}; choose one of {', '.join(known)}, or several: method=[oracle,model]."
        )
    return list(dict.fromkeys(str(method) for method in wanted))


def run_lift_test(cfg: DictConfig) -> list[LiftingCard]:
    """Lifts the clips that are not lifted yet, scores all and writes a card.

    Args:
        cfg: configuration of a lifting task `test`.

    Raises:
        FileNotFoundError: weights, data or the file of poses are missing.
        FileExistsError: the output folder holds motions of another test.
        ValueError: the options contradict each other, or no callback scores.
    """
    is_first = getattr(rank_zero_only, "rank", 0) == 0
    methods = methods_of(cfg)
    callbacks = [instantiate(c, _convert_="all") for c in listed(cfg.callbacks)]
    metric = next((one for one in callbacks if isinstance(one, MetricLift)), None)
    if metric is None:
        raise ValueError("Task test has no callback that scores; remove empty_callback.")
    if cfg.score_only is not None:
        return [score_only(cfg, metric)]
    weights = starting_weights(cfg) if MODEL in methods else None
    check_files(cfg, weights)
    clips = evaluation_clips(cfg, methods)
    sources = {method: source_of(cfg, method, weights, clips) for method in methods}
    if cfg.overwrite and is_first:
        shutil.rmtree(metric.out_dir / FOLDER_NAME, ignore_errors=True)
    missing = {method: metric.open(method, clips, source) for method, source in sources.items()}
    for method in methods:
        if method != MODEL and is_first:
            lift_without_network(cfg, method, clips, missing[method], metric)
    if missing.get(MODEL):
        model, data, trainer = build(cfg)
        for one in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(one, MetricLift):
                one.method = MODEL
        trainer.test(model, datamodule=data, verbose=False)
    notes = leaks(sources, clips)
    return [metric.score(clips, sources, card_metadata(cfg, clips, notes))] if is_first else []


def score_only(cfg: DictConfig, metric: MetricLift) -> LiftingCard:
    """Scores existing motions: all methods of a test's `lifted` folder, or another folder of motions.

    Raises:
        FileNotFoundError: the folder of motions does not exist.
        ValueError: the motions were lifted from other clips than those of the configuration.
    """
    folder = Path(cfg.score_only)
    if not folder.is_dir():
        raise FileNotFoundError(f"No motions to score: folder {folder} does not exist. Set it with motions=.")
    folder = folder / FOLDER_NAME if (folder / FOLDER_NAME).is_dir() else folder
    folders = {path.parent.name: GenerationFolder(path.parent) for path in sorted(folder.glob(f"*/{MANIFEST_NAME}"))}
    if not folders:
        clips = evaluation_clips(cfg, methods_of(cfg))
        saved = SavedMotions(folder, fps=clips.clip(clips.items[0]).fps, skeleton=clips.lifted)
        source = LiftSource(f"motions in {folder}, sha256 {saved.sha256}", {})
        return metric.score(clips, {GIVEN: source}, card_metadata(cfg, clips), {GIVEN: saved})
    clips = evaluation_clips(cfg, list(folders))
    wanted = json.loads(json.dumps(clips.identity()))
    notes: list[str] = []
    sources = {}
    for method, motions in folders.items():
        known = motions.identity or {}
        if differences := differing(known.get("clips", {}), wanted):
            if not cfg.accept_mismatch:
                raise ValueError(
                    f"The motions in {motions.folder} were lifted from other clips: {'; '.join(differences)}. Give "
                    "the options that they were lifted with, or score them anyway with accept_mismatch=true."
                )
            notes.append(f"{method}: scored although lifted from other clips: {'; '.join(differences)}.")
        sources[method] = LiftSource(str(known.get("about", f"motions in {motions.folder}")), known)
    notes += leaks(sources, clips)
    return metric.score(clips, sources, card_metadata(cfg, clips, notes), folders)


def evaluation_clips(cfg: DictConfig, methods: Sequence[str]) -> ScoredLifts:
    """The clips of the configuration, in the joints of the model if a model is among the methods, otherwise in their
    own."""
    cfg = cfg.copy()
    if MODEL not in methods:
        cfg.data.test.skeleton = None
    return instantiate(cfg.data, _convert_="all").dataset("test")


def check_files(cfg: DictConfig, weights: Any) -> None:
    """Raises FileNotFoundError with all missing weights, stores and pose files."""
    wanted = weight_files(weights)
    wanted += [Path(cfg.prior)] if cfg.prior is not None else []
    store = OmegaConf.select(cfg, "clips.source.views.store")
    wanted += [Path(store) / "store.json"] if store is not None else []
    refuse_missing(wanted)


def lift_without_network(
    cfg: DictConfig, method: str, clips: ScoredLifts, items: Sequence[int], metric: MetricLift
) -> None:
    """Lifts clips with a method without weights and saves each one at once.

    Raises:
        ValueError: a clip cannot be lifted; the message contains its name.
    """
    lifter = get_method(method).untrained(clips.lifted, None if cfg.prior is None else Path(cfg.prior))
    for item in progress(items, method, unit="clip"):
        clip, seen = clips.clip(item), clips.observation(item)
        try:
            kp2d, conf = (seen.kp2d, seen.conf) if lifter.uses_all_views else (seen.kp2d[0], seen.conf[0])
            motions = lifter.lift(kp2d[None], conf[None], seen.rig, fps=clip.fps)
        except ValueError as error:
            raise ValueError(f"{method} cannot lift '{clip.name}': {error}") from error
        metric.save(method, item, motions[0].joints3d, clips)


def source_of(cfg: DictConfig, method: str, weights: Any, clips: ScoredLifts) -> LiftSource:
    """Source of the motions of a method: weights, options, clips and seed."""
    identity: dict[str, Any] = {"method": method, "clips": clips.identity()}
    if method == MODEL:
        files = weight_files(weights)
        hashes = "+".join(file_hash(path) for path in files)
        pipeline: Any = OmegaConf.to_container(cfg.pipeline, resolve=True)
        identity |= {
            "weights": hashes,
            "pipeline": {k: v for k, v in pipeline.items() if k != "training"},
            "precision": str(cfg.trainer.precision),
            "seed": cfg.seed,
            "num_samples": cfg.num_samples,
        }
        name = "+".join(f"{path.parent.name}/{path.name}" for path in files)
        about = f"{name}, sha256 {hashes}; {'; '.join(training_record(path) for path in files)}"
    elif not get_method(method).pipeline_class.uses_all_views:
        prior = None if cfg.prior is None else PosePrior.load(cfg.prior)
        identity["prior"] = None if cfg.prior is None else file_hash(cfg.prior)
        about = f"no network, poses of {'synthetic motion' if prior is None else prior.source}"
    else:
        about = "no network, true 2D of all views with the simulated errors"
    return LiftSource(about, identity | {"about": about})


def training_record(path: Path) -> str:
    """Sentence about the training data (motion and 2D) of a weight file, from the metadata files next to it."""
    release, run = path.parent / CONFIG_NAME, path.parent.parent / "config.yaml"
    if release.is_file():
        about = json.loads(release.read_text(encoding="utf-8")).get("about", {})
        has_tracks = any("tracks2d=" in str(command) for command in about.get("commands", []))
        return f"trained on {about.get('data', UNKNOWN)}, " + ("2D tracks of its own" if has_tracks else "no other 2D")
    if not run.is_file():
        return f"trained on {UNKNOWN}"
    cfg = yaml.safe_load(run.read_text(encoding="utf-8"))
    train, extra = (cfg.get("datamodule") or {}).get("train") or {}, (cfg.get("datamodule") or {}).get("extra") or {}
    sets = f"{Path(str(train.get('store'))).name}/{train.get('split')}"
    tracks = _tracks_record(extra.get("tracks") or {})
    record = f"{cfg.get('exp_name')} trained on {sets}, " + (f"2D of {tracks}" if tracks else "no other 2D")
    before = cfg.get("ckpt_path")
    if not isinstance(before, str):
        return record + ", from nothing"
    return f"{record}, started from: {training_record(Path(before)) if Path(before) != path else before}"


def _tracks_record(tracks: Mapping[str, Any]) -> str:
    """The additional 2D training data, or ""."""
    if views := tracks.get("views"):
        return f"{Path(str(views.get('store'))).name}/{views.get('split')} with labels {views.get('labels')}"
    return str(tracks.get("folder") or "")


def leaks(sources: Mapping[str, LiftSource], clips: ScoredLifts) -> list[str]:
    """A warning for each method whose recorded training data include the evaluated set."""
    name, _, split = clips.set_name.rpartition("/")
    trained = [
        m
        for m, s in sources.items()
        if f"trained on {name}/{split}," in s.about or f"{name}, split {split}:" in s.about
    ]
    return [
        f"{method} was TRAINED ON the set that it is scored on; its numbers do not measure generalization."
        for method in trained
    ]


def card_metadata(cfg: DictConfig, clips: ScoredLifts, notes: Sequence[str] = ()) -> CardMetadata:
    """Metadata of the card: settings and notes."""
    identity = clips.identity()
    rigs = identity.get("rigs", f"{clips.views} cameras next to each observing one")
    drawn = ", ".join(f"{k} {v}" for k, v in rigs.items()) if isinstance(rigs, dict) else rigs
    errors = {k: v for k, v in asdict(clips.corruption).items() if v}
    metadata = {
        "rigs": f"{drawn}; seed of the set {clips.set_seed}",
        "2D": ("detections" if identity.get("detected") else "true")
        + (f" of '{clips.shown.name}' keypoints" if clips.shown.name != clips.lifted.name else "")
        + (", with " + ", ".join(f"{k}={v}" for k, v in errors.items()) if errors else ", without added errors"),
    }
    if cfg.num_samples != 1:
        metadata["samples"] = f"{cfg.num_samples} of the model are averaged"
    remarks = list(notes)
    if len(clips.items) < len(clips.names):
        remarks.append(f"{len(clips.items)} of {len(clips.names)} clips, evenly spaced.")
    return CardMetadata(command_of(cfg), cfg.seed, metadata, (*remarks, *clips.joint_notes))

"""Scores of lifting: lifted motions are saved clip by clip, then scored from the files."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from hmr4d.body.joint_conversion import convert_joints
from hmr4d.body.skeleton import Skeleton, get_skeleton
from hmr4d.evaluation.captures.views import LiftingClip
from hmr4d.evaluation.cards import GROUND_TRUTH, LiftingCard
from hmr4d.evaluation.generations import GenerationFolder
from hmr4d.evaluation.lifting_data import ScoredLifts, in_joints
from hmr4d.evaluation.lifting_scores import averaged
from hmr4d.evaluation.text_to_motion_data import Job
from hmr4d.export.saved_motions import SavedMotions
from hmr4d.metrics.pose_errors import PoseErrorMetric
from hmr4d.motion.motion import Motion, MotionBatch, Provenance
from hmr4d.utils.files import write_json
from hmr4d.utils.progress import progress
from hmr4d.visualization.html_viewer import PageMotion, write_html

logger = logging.getLogger(__name__)

FOLDER_NAME, CLIPS_NAME, PAGE_NAME, PAGE_CLIPS = "lifted", "clips.json", "comparison.html", 6
TRUTH_METRICS = ("jitter_10m_s3", "foot_sliding")  # metrics that the ground truth has, too
PER_CLIP = ("abs_mpjpe", "mpjpe", "pa_mpjpe", "t_root")


@dataclass(frozen=True)
class LiftSource:
    """Source of the motions of one row of the card.

    Attributes:
        about: sentence for the card: file, hash and training data of the weights, or the method.
        identity: all settings that determine the motions; saved next to them.
    """

    about: str
    identity: Mapping[str, Any]


@dataclass(frozen=True)
class CardMetadata:
    """Card metadata that the callback does not know; see `LiftingCard`."""

    command: str
    seed: int
    settings: Mapping[str, str]
    notes: tuple[str, ...] = ()


class MetricLift(pl.Callback):
    """Saves lifted motion and scores it from the files. An interrupted test continues.

    Every process saves the motions that it lifts.

    Args:
        out_dir: folder of the card; the motions are in `lifted/<method>`.
        protocol: name of the protocol.
        average: main average of the card, "frames" or "clips".
        joints: name of the scored skeleton, which is derived from the lifted joints; None: the lifted joints.
    """

    def __init__(
        self,
        out_dir: str = "outputs/lift_test",
        *,
        protocol: str = "lift",
        average: str = "frames",
        joints: str | None = None,
    ) -> None:
        self.out_dir, self.protocol, self.average = Path(out_dir), protocol, average
        self.joints = None if joints is None else get_skeleton(joints)
        self.method: str | None = None  # method of a running trainer.test

    def folder(self, method: str) -> GenerationFolder:
        """Folder of the motions of a method."""
        return GenerationFolder(self.out_dir / FOLDER_NAME / method)

    def open(self, method: str, clips: ScoredLifts, source: LiftSource) -> list[int]:
        """Opens the folder of a method and returns the items still to lift.

        Raises:
            FileExistsError: the folder contains motions of another test.
        """
        folder = self.folder(method)
        folder.begin(source.identity)
        missing = [item for item in clips.items if not folder.has(Job(0, item))]
        logger.info("%s: %d clips, %d to lift.", method, len(clips.items), len(missing))
        return missing

    def save(self, method: str, item: int, joints3d: Tensor, clips: ScoredLifts) -> None:
        """Saves a lifted clip (L, J, 3), meters. Raises ValueError if it is not finite."""
        clip = clips.clip(item)
        if not bool(torch.isfinite(joints3d).all()):
            raise ValueError(
                f"{method} lifted '{clip.name}' to numbers that are not finite. If the method has a network, its "
                f"weights are damaged or its training diverged. Earlier clips are in {self.folder(method).folder}."
            )
        motion = Motion(joints3d, clip.fps, clips.lifted, clip.name, provenance=Provenance(more={"item": item}))
        self.folder(method).save(Job(0, item), motion)

    # --- Lightning ----------------------------------------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "test" or self.method is None:
            return
        clips: ScoredLifts = trainer.datamodule.dataset("test")  # type: ignore[attr-defined]
        folder = self.folder(self.method)
        missing = [item for item in clips.items if not folder.has(Job(0, item))]
        trainer.strategy.barrier()  # every process has seen the same files before the first one writes
        clips.choose(missing[trainer.global_rank :: trainer.world_size])

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self.method is not None:
            self.save_batch(outputs, batch["item"].tolist(), trainer.datamodule.dataset("test"))  # type: ignore[attr-defined]

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.strategy.barrier()

    def save_batch(self, output: MotionBatch, items: list[int], clips: ScoredLifts) -> None:
        """Saves the motions of a batch of the model.

        Raises:
            ValueError: a motion is not finite; the other motions are saved first.
        """
        broken: ValueError | None = None
        for row, item in enumerate(items):
            try:
                self.save(self.method or "model", item, output[row].joints3d, clips)
            except ValueError as error:
                broken = broken or error
        if broken is not None:
            raise broken

    # --- score --------------------------------------------------------------------------------------------------------

    def score(
        self,
        clips: ScoredLifts,
        sources: Mapping[str, LiftSource],
        about: CardMetadata,
        motions: Mapping[str, GenerationFolder | SavedMotions] | None = None,
    ) -> LiftingCard:
        """Scores the saved motions of all methods, writes card, page and list of clips, and logs the table.

        Args:
            clips: lifted clips.
            sources: row -> source of its motions.
            about: metadata of the card.
            motions: row -> folder of its motions; None: the folders of this callback.

        Raises:
            ValueError: motions are missing or do not match their clips.
        """
        motions = motions or {method: self.folder(method) for method in sources}
        for method, folder in motions.items():
            check_complete(method, folder, clips)
        scores: dict[str, PoseErrorMetric] = {}
        listed: list[dict[str, Any]] = []
        page: list[PageMotion] = []
        for place, item in enumerate(progress(clips.items, "scoring", unit="clip")):
            given = clips.clip(item)
            clip = given if self.joints is None else in_joints(given, self.joints)
            lifted = {m: _motion(folder, item, place, given, clips.lifted) for m, folder in motions.items()}
            lifted = {m: convert_joints(x, clips.lifted, clip.skeleton) for m, x in lifted.items()}
            for row, joints3d in {GROUND_TRUTH: clip.joints3d, **lifted}.items():
                _add(scores.setdefault(row, _metric(clip)), joints3d, clip, place)
            views = clips.observation(item).rig.num_views
            frames = int(clip.valid[:, list(clip.root_joints)].all(-1).sum())
            listed.append({"item": item, "name": clip.name, "frames": frames, "views": views, "mm": {}})
            if place < PAGE_CLIPS:
                shown = _shown(clip, lifted).items()
                page += [PageMotion(Motion(x, clip.fps, clip.skeleton, m), group=clip.name) for m, x in shown]
            skeleton, fps = clip.skeleton, clip.fps
        write_html(
            self.out_dir / PAGE_NAME, page, mesh=False, together=True, title=f"{clips.set_name}: lifted and true"
        )
        for method in motions:
            sums, counts = scores[method].sums_and_counts()
            for entry, means in zip(listed, (sums / counts).tolist(), strict=True):
                named = dict(zip(scores[method].names, means, strict=True))
                entry["mm"][method] = {name: round(named[name], 3) for name in PER_CLIP}
        write_json(self.out_dir / CLIPS_NAME, listed)
        card = self._card(clips, sources, about, scores, listed, skeleton, fps)
        path = card.write(self.out_dir)
        logger.info("Card %s:\n\n%s", path, card.table())
        return card

    def _card(
        self,
        clips: ScoredLifts,
        sources: Mapping[str, LiftSource],
        about: CardMetadata,
        scores: Mapping[str, PoseErrorMetric],
        listed: list[dict[str, Any]],
        skeleton: Skeleton,
        fps: float,
    ) -> LiftingCard:
        sequences = [clips.sequence(item) for item in clips.items]
        tables: dict[str, dict[str, Any]] = {"frames": {}, "clips": {}}
        for average, table in tables.items():
            for row, score in scores.items():
                values = averaged(score, sequences, average)
                table[row] = {k: v for k, v in values.items() if row != GROUND_TRUTH or k in TRUTH_METRICS}
        other = "clips" if self.average == "frames" else "frames"
        return LiftingCard(
            rows=tables[self.average],
            other_rows=tables[other],
            average=self.average,
            set_name=clips.set_name,
            set_size=len(listed),
            num_sequences=len(set(sequences)),
            num_frames=sum(c["frames"] for c in listed),
            num_views=max(c["views"] for c in listed),
            fps=fps,
            joints=f"{skeleton.num_joints} of '{skeleton.name}', root between the hips",
            settings=about.settings,
            weights={method: source.about for method, source in sources.items()},
            seed=about.seed,
            protocol=self.protocol,
            command=about.command,
            notes=about.notes,
            date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        )


def check_complete(method: str, folder: GenerationFolder | SavedMotions, clips: ScoredLifts) -> None:
    """Raises ValueError unless there is a motion for every clip."""
    if isinstance(folder, SavedMotions):
        if len(folder) != len(clips.items):
            raise ValueError(
                f"{folder.folder} holds {len(folder)} motions for a test of {len(clips.items)} clips; give one for "
                f"each, in the order of {CLIPS_NAME}."
            )
        return
    if missing := [item for item in clips.items if not folder.has(Job(0, item))]:
        raise ValueError(
            f"{folder.folder} lacks {len(missing)} of {len(clips.items)} clips lifted by {method}; run the test again "
            "to lift them, or lower limit=."
        )


def _motion(
    folder: GenerationFolder | SavedMotions, item: int, place: int, clip: LiftingClip, skeleton: Skeleton
) -> Tensor:
    """Lifted joints (L, J, 3), meters; checks that they match the clip."""
    motion = folder.load(place) if isinstance(folder, SavedMotions) else folder.load(Job(0, item))
    wanted = (len(clip.joints3d), skeleton.name, float(clip.fps))
    if (actual := (motion.num_frames, motion.skeleton.name, float(motion.fps))) != wanted:
        raise ValueError(
            f"The motion lifted from '{clip.name}' in {folder.folder} has {actual[0]} frames of '{actual[1]}' at "
            f"{actual[2]:g} fps; the clip has {wanted[0]} frames of '{wanted[1]}' at {wanted[2]:g} fps."
        )
    return motion.joints3d


def _metric(clip: LiftingClip) -> PoseErrorMetric:
    return PoseErrorMetric(clip.fps, root_joints=clip.root_joints, foot_joints=clip.skeleton.contact_joints)


def _add(metric: PoseErrorMetric, joints3d: Tensor, clip: LiftingClip, place: int) -> None:
    """Adds a clip to a row. Errors name the clip."""
    try:
        metric.update(joints3d, clip.joints3d, valid=clip.valid, index=place)
    except ValueError as error:
        raise ValueError(f"{clip.name}: {error}") from error


def _shown(clip: LiftingClip, lifted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Caption -> motion of a clip, world coordinates; gaps of the ground truth hold the last pose."""
    known = clip.valid.all(-1)
    held = torch.arange(len(known)).masked_fill(~known, -1).cummax(0).values.clamp(min=0)
    first = int(known.int().argmax())
    return {"true": clip.joints3d[torch.where(held < first, first, held)], **lifted}

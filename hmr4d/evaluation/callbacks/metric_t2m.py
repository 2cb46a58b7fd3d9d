"""Scores of text-to-motion generation: motions are saved when generated, then scored from the files."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from hmr4d.body.joint_conventions import convention_of_motion
from hmr4d.data.store import MOTION
from hmr4d.evaluation.cards import ResultCard
from hmr4d.evaluation.generations import GenerationFolder
from hmr4d.evaluation.scoring import (
    Embeddings,
    PublishedModelProtocol,
    ScoringProtocol,
    TextToMotionScorer,
)
from hmr4d.evaluation.text_to_motion_data import Job, ScoredClips
from hmr4d.evaluators.evaluator import load_evaluator
from hmr4d.export.saved_motions import SavedMotions
from hmr4d.motion.motion import Motion, MotionBatch
from hmr4d.utils.files import atomic_path, write_json
from hmr4d.visualization.html_viewer import PageMotion, write_comparison

logger = logging.getLogger(__name__)

FOLDER_NAME, ITEMS_NAME, EMBEDDINGS_NAME = "generations", "items.json", "embeddings.npz"
PAGE_NAME, PAGE_ITEMS = "comparison.html", 12


@dataclass(frozen=True)
class Source:
    """Source of the motions of a card.

    Attributes:
        checkpoint, checkpoint_hash: the weights, or the folder of external motions.
        command: command that reproduces the card.
        identity: all settings that determine the motions; saved next to them.
        notes: remarks for the card.
    """

    checkpoint: str
    checkpoint_hash: str
    command: str
    identity: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class MetricT2M(pl.Callback):
    """Saves generated motions and scores them when complete; an interrupted test continues.

    Every process saves its motions; the first process scores. The scores depend on the files alone, so scoring them
    again gives the same card.

    Args:
        out_dir: folder of the card; the motions are in `generations`.
        evaluator: name or folder, see `load_evaluator`.
        glove: folder of word vectors, for evaluators that read them.
        protocol: evaluation protocol; default: that of the published model.
    """

    def __init__(
        self,
        out_dir: str = "outputs/text2motion_test",
        *,
        evaluator: str = "humanml3d",
        glove: str | None = None,
        protocol: ScoringProtocol | None = None,
    ) -> None:
        self.out_dir, self.evaluator_name, self.glove = Path(out_dir), evaluator, glove
        self.protocol: ScoringProtocol = protocol or PublishedModelProtocol()
        self.folder = GenerationFolder(self.out_dir / FOLDER_NAME)
        self.source: Source | None = None
        self.scorer: TextToMotionScorer | None = None
        self.card: ResultCard | None = None

    def prepare(self, clips: ScoredClips, source: Source) -> None:
        """Loads and validates the evaluator before any motion is generated.

        Raises:
            FileNotFoundError: files of the evaluator are missing.
            ValueError: clips, evaluator and protocol do not match, or there are too few clips.
        """
        evaluator = load_evaluator(self.evaluator_name, glove_folder=self.glove)
        self.scorer, self.source = TextToMotionScorer(evaluator, self.protocol, clips), source

    def open(self, clips: ScoredClips, source: Source) -> list[Job]:
        """Calls `prepare`, opens the folder of motions and returns the remaining jobs.

        Raises:
            FileExistsError: the folder contains motions of another test.
        """
        self.prepare(clips, source)
        self.folder.begin(source.identity)
        write_items(self.out_dir / ITEMS_NAME, clips)
        missing = [job for job in clips.jobs if not self.folder.has(job)]
        logger.info("%d motions to score, %d to generate.", len(clips.jobs), len(missing))
        return missing

    # --- Lightning ----------------------------------------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "test":
            return
        clips = trainer.datamodule.dataset("test")  # type: ignore[attr-defined]
        missing = self.open(clips, self.source or Source("unnamed", "unknown", "trainer.test"))
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
        self.save(outputs, batch)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            self.score(pl_module.device)

    # --- work ---------------------------------------------------------------------------------------------------------

    def save(self, output: MotionBatch, batch: Mapping[str, Any]) -> None:
        """Saves the motions of a batch with `repeat`, `item`, `sample` and `seed` (B,).

        Raises:
            ValueError: a motion is not finite; the other motions are saved first.
        """
        columns = [batch[name].tolist() for name in ("repeat", "item", "sample", "seed")]
        broken = []
        for row, (repeat, item, sample, seed) in enumerate(zip(*columns, strict=True)):
            job, motion = Job(repeat, item, sample), output[row]
            if not bool(torch.isfinite(motion.joints3d).all()):
                broken.append((job, motion.text))
                continue
            provenance = motion.provenance.updated(repeat=repeat, item=item, sample=sample, seed=seed)
            self.folder.save(job, replace(motion, provenance=provenance))
        if broken:
            job, text = broken[0]
            raise ValueError(
                f"The model generated {len(broken)} motion(s) that are not finite, first for repeat {job.repeat}, item "
                f"{job.item} ('{text}'). Its weights are damaged or its training diverged; earlier motions are in "
                f"{self.folder.folder}."
            )

    def score(
        self, device: torch.device | str, *, motions: GenerationFolder | SavedMotions | None = None
    ) -> ResultCard:
        """Scores motions, writes the card and logs the table.

        Args:
            device: device of the evaluator.
            motions: external motions; None: those of this callback's folder.

        Raises:
            ValueError: motions are missing or cannot be scored.
        """
        if self.scorer is None or self.source is None:
            raise ValueError("The evaluator is not loaded; call prepare or open first.")
        scorer, source, clips = self.scorer, self.source, self.scorer.clips
        evaluator = scorer.evaluator.to(device)
        load = loader(motions or self.folder, clips)
        scored = scorer.score(load)
        card = ResultCard(
            rows=scored.rows,
            set_name=f"{clips.store.name}/{clips.split}",
            set_size=scored.set_size,
            seed=clips.seed,
            protocol=self.protocol.name,
            evaluator=evaluator.recipe.name,
            evaluator_hash=evaluator.weights_hash,
            statistics_hash=evaluator.statistics_hash,
            checkpoint=source.checkpoint,
            checkpoint_hash=source.checkpoint_hash,
            command=source.command,
            date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            notes=(*source.notes, *scored.notes),
        )
        write_embeddings(self.out_dir / EMBEDDINGS_NAME, scored.embeddings)
        write_page(self.out_dir / PAGE_NAME, load, clips)
        path = card.write(self.out_dir)
        self.card = card
        logger.info("Card %s:\n\n%s", path, card.table())
        return card


def loader(motions: GenerationFolder | SavedMotions, clips: ScoredClips) -> Callable[[Job], Motion]:
    """Function from a job to its motion, from the folder of a test or of external motions.

    Raises:
        ValueError: motions are missing.
    """
    if isinstance(motions, SavedMotions):
        places = {place: number for number, place in enumerate(clips.main_jobs())}
        return lambda job: motions.load(places[job.repeat, job.item])
    if missing := [job for job in clips.jobs if not motions.has(job)]:
        raise ValueError(
            f"{motions.folder} lacks {len(missing)} of {len(clips.jobs)} motions; run the test again to generate "
            "them, or lower replications=, limit= or multimodality_captions=."
        )
    return motions.load


def write_page(path: Path, load: Callable[[Job], Motion], clips: ScoredClips) -> None:
    """Writes a viewer page of the first items: generated motion next to recorded 3D motion."""
    rows = []
    is_recorded = clips.store.kind == MOTION
    for repeat, item in clips.main_jobs()[:PAGE_ITEMS]:
        members = [PageMotion(load(Job(repeat, item)), "generated")]
        rows.append((clips.text(repeat, item), members))
        if not is_recorded:
            continue
        real, rows_taken = clips.real(item), clips.excerpt(repeat, item).rows
        if rows_taken is not None:
            real = real[rows_taken[0] : sum(rows_taken) + 1]  # a feature row needs the frame after it
        convention = convention_of_motion(clips.store.info.get("joint_convention"), real, clips.real_fps)
        recorded = Motion(real, clips.real_fps, clips.store.skeleton, joint_convention=convention)
        members.append(PageMotion(recorded, "recorded"))
    title = f"{clips.store.name}/{clips.split}: generated{' and recorded' if is_recorded else ''}"
    write_comparison(path, rows, title=title)


def write_embeddings(path: Path, repeats: Sequence[Embeddings]) -> None:
    """Saves the embeddings behind the card: `text`, `generated`, `real` and `another`, each (R, N, D) float32.

    R counts repeats, N items in their order, D embedding dimensions.
    """
    columns = zip(Embeddings._fields, zip(*repeats, strict=True), strict=True)
    arrays = {name: torch.stack(rows).numpy() for name, rows in columns}
    with atomic_path(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)


def write_items(path: Path, clips: ScoredClips) -> None:
    """Writes the list of requested items in order, for external generation."""
    items = [
        {
            "repeat": repeat,
            "item": item,
            "clip": clips.store.names[clips.examples[item].clip],
            "text": clips.text(repeat, item),
            "seconds": clips.excerpt(repeat, item).seconds,
        }
        for repeat, item in clips.main_jobs()
    ]
    write_json(path, items)

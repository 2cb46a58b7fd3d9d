"""A complete run from the sources of a folder to a data set; an interrupted run continues."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from hmr4d.curation.captioners import FileCaptions, build_captioner
from hmr4d.curation.partitions import BACKENDS, FAILED, DeadLetter, Outcome, run_here, run_on_ray, tasks_of
from hmr4d.curation.plots import write_plots
from hmr4d.curation.review import Decision, read_decisions
from hmr4d.curation.shards import SHARD_CLIPS, SHARDS, Packed, pack
from hmr4d.curation.sources import open_sources
from hmr4d.curation.stages import Settings, build_stages
from hmr4d.utils.files import write_json

logger = logging.getLogger(__name__)

REMNANT_SECONDS = 3600.0
WORK, VIDEOS, REVIEW, PLOTS, ORIGIN = "work", "videos", "review.csv", "statistics.png", "origin.json"


def curate(
    settings: Settings,
    out: Path,
    *,
    backend: str = "local",
    jobs: int = 1,
    retry_failed: bool = False,
    shard_clips: int = SHARD_CLIPS,
) -> Packed:
    """Runs all stages and writes the data set. Repeat the command to continue an interrupted run.

    Args:
        settings: settings of the stages.
        out: folder of the data set; `work/` in it contains the results of the stages.
        backend: one of BACKENDS.
        jobs: number of concurrent partitions.
        retry_failed: try records again that failed with an error; rejected records stay excluded.
        shard_clips: clips per shard.

    Raises:
        FileNotFoundError: there are no sources.
        ValueError: the data set would be inside the source folder or belongs to another folder, or a number is below 1.
        ValueError, ImportError: a detector, captioner or backend is unknown or not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"Unknown backend '{backend}'; known: {', '.join(BACKENDS)}.")
    opened = open_sources(settings.root)
    if out.resolve().is_relative_to(opened.place.resolve()):
        raise ValueError(f"{out} lies in {settings.root}, so its files would be sources. Choose another --out.")
    if jobs < 1 or shard_clips < 1:
        raise ValueError(f"jobs is {jobs} and shard_clips {shard_clips}; expected 1 or more.")
    out.mkdir(parents=True, exist_ok=True)
    check_origin(out, opened.place)
    remove_remnants(out)
    build_stages(settings, out / VIDEOS)  # so that a wrong name fails here and not in every partition
    sources = list(opened.list())
    captioner = build_captioner(settings.captioner)
    if isinstance(captioner, FileCaptions) and (strangers := captioner.strangers(source.id for source in sources)):
        shown = ", ".join(strangers[:3])
        logger.warning("%d names in the captions file match no source, such as %s.", len(strangers), shown)
    tasks = tasks_of(sources, settings, out / WORK, out / VIDEOS, retry_failed=retry_failed)
    outcomes = list(run_here(tasks, jobs) if backend == "local" else run_on_ray(tasks, jobs))
    packed = pack(outcomes, out, decisions=decisions_of(out), size=shard_clips)
    if packed.clips:
        write_plots(packed.statistics, out / PLOTS)
    _tell(packed, outcomes, len(sources))
    return packed


def check_origin(out: Path, root: Path) -> None:
    """Records the source folder of a data set. Raises ValueError if the data set belongs to another folder."""
    note, origin = out / ORIGIN, str(root.resolve())
    known = json.loads(note.read_text("utf-8"))["root"] if note.is_file() else origin
    if known != origin:
        raise ValueError(
            f"{out} is a data set of {known}. Choose another --out or, if that folder was moved, remove {note}."
        )
    write_json(note, {"root": origin})


def remove_remnants(out: Path) -> None:
    """Removes unfinished files of interrupted runs that are older than REMNANT_SECONDS."""
    for folder in (out, out / SHARDS, out / VIDEOS, *(out / WORK).glob("*")):
        for file in folder.glob(".*"):
            if file.is_file() and time.time() - file.stat().st_mtime > REMNANT_SECONDS:
                file.unlink(missing_ok=True)


def decisions_of(out: Path) -> Mapping[str, Decision]:
    """Review decisions in a data set; {} without any."""
    return read_decisions(out / REVIEW) if (out / REVIEW).is_file() else {}


def _tell(packed: Packed, outcomes: list[Outcome], num_sources: int) -> None:
    """Logs a summary of the results."""
    splits = ", ".join(f"{count} {split}" for split, count in sorted(packed.clips.items()))
    logger.info("%d sources: %d clips (%s).", num_sources, sum(packed.clips.values()), splits or "none")
    fresh = sum(outcome.stages_run > 0 for outcome in outcomes)
    logger.info("%d of %d partitions had work to do.", fresh, len(outcomes))
    for reason, count in reasons_of(packed.dead).most_common():
        logger.info("excluded: %d x %s.", count, reason)
    if any(letter.kind == FAILED for letter in packed.dead):
        logger.warning("Some records failed with an error, see dead_letters.csv; --retry-failed tries them again.")


def reasons_of(dead: Sequence[DeadLetter]) -> Counter[str]:
    """Reason -> number of excluded sources and clips."""
    return Counter(f"{letter.stage}/{letter.reason}" for letter in dead)

"""The gate: decides which motions of an archive are good enough as a condition for generators.

A motion passes if it satisfies the rules (`gate_rules`) and an optional judge (`vlm`) confirms that it matches its
description. The decision is yes, no or undecided (no answer). The input archive is not changed. Measurements and
answers are cached by content immediately, so an interrupted run continues where it stopped.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from hmr4d.reference_motion.archive_file import Archive
from hmr4d.reference_motion.content_cache import ContentCache
from hmr4d.reference_motion.gate_rules import GateRules, Measures, measure
from hmr4d.reference_motion.vlm import DEFAULT_SAMPLING_FPS, Judge, Question, Verdict
from hmr4d.reference_motion.vlm_answer import Decision
from hmr4d.utils.progress import progress

logger = logging.getLogger(__name__)

FLAG = "use_ref_motion"  # true, false, or null for undecided
DETAILS = "ref_motion_gate"


@dataclass(frozen=True)
class GateRecord:
    """Result of the gate for one entry.

    Attributes:
        entry_id: id of the entry, of any type.
        decision: decision; None for entries without motion or of another type, which pass unchanged.
        reasons: sentences that explain no and undecided.
        measures: measurements; None if the motion could not be measured.
        verdict: verdict of the judge; None if it was not asked.
        error: error of the entry or its files; empty without errors.
    """

    entry_id: Any
    decision: Decision | None
    reasons: tuple[str, ...] = ()
    measures: Measures | None = None
    verdict: Verdict | None = None
    error: str = ""


@dataclass(frozen=True)
class GateOptions:
    """Options of the gate.

    Attributes:
        rules: limits of the measurements.
        judge: judge of the clips; None: the rules decide alone.
        published: measure like the published gate, see `gate_rules.measure`.
        ask_all: ask the judge also about motions that break a rule.
        threads: number of concurrent questions.
        sampling_fps: images per second for the judge.
        limit: number of first entries to gate; the others pass unchanged. None: all.
    """

    rules: GateRules = field(default_factory=GateRules)
    judge: Judge | None = None
    published: bool = False
    ask_all: bool = False
    threads: int = 2
    sampling_fps: float = DEFAULT_SAMPLING_FPS
    limit: int | None = None

    def __post_init__(self) -> None:
        """ValueError for numbers that make no sense."""
        if self.threads < 1 or not 0 < self.sampling_fps < math.inf or (self.limit is not None and self.limit < 0):
            raise ValueError(
                f"threads ({self.threads}) must be at least 1, sampling_fps ({self.sampling_fps}) positive and limit "
                f"({self.limit}) not negative."
            )


def gate_archive(archive: Archive, options: GateOptions, cache: ContentCache | None = None) -> list[GateRecord | None]:
    """Gates the entries of an archive. A faulty entry does not affect others.

    Args:
        archive: input archive.
        options: options.
        cache: cache of measurements.

    Returns:
        One record per entry, in order; None for entries beyond the limit.
    """
    count = len(archive.entries) if options.limit is None else min(options.limit, len(archive.entries))
    measured = [
        _measured(archive, index, options, cache) for index in progress(range(count), "Measuring", unit="motion")
    ]
    wanted = [index for index, record in enumerate(measured) if _is_asked(record, options)]
    verdicts = _verdicts(archive, wanted, options)
    records: list[GateRecord | None] = [
        _decided(record, verdicts.get(index), options) for index, record in enumerate(measured)
    ]
    return records + [None] * (len(archive.entries) - count)


def decide(faults: Sequence[str], verdict: Verdict | None, *, is_judged: bool) -> Decision:
    """The decision from broken rules and the verdict.

    A broken rule means no. Without a judge the rules decide alone; with a judge its verdict decides.
    """
    if faults:
        return Decision.NO
    if not is_judged:
        return Decision.YES
    return Decision.UNDECIDED if verdict is None else verdict.decision


def gated_entries(archive: Archive, records: Sequence[GateRecord | None]) -> list[Any]:
    """The entries with the decision: FLAG, and state and reasons under DETAILS."""
    entries = []
    for entry, record in zip(archive.entries, records, strict=True):
        if record is None or record.decision is None or not isinstance(entry, Mapping):
            entries.append(entry)
        else:
            details = {"state": record.decision.value, "reasons": list(record.reasons)}
            entries.append({**entry, FLAG: record.decision.flag, DETAILS: details})
    return entries


def _measured(archive: Archive, index: int, options: GateOptions, cache: ContentCache | None) -> GateRecord:
    name = archive.ids[index]
    try:
        path = archive.path_of(index, "motion_path")
        if path is None:
            return GateRecord(name, None, ("there is no motion_path",))
        measures = measure(path, published=options.published, cache=cache)
    except OSError as error:
        return GateRecord(name, Decision.UNDECIDED, (str(error),), error=str(error))
    except ValueError as error:
        is_entry = isinstance(archive.entries[index], Mapping)
        return GateRecord(name, Decision.NO if is_entry else None, (str(error),), error=str(error))
    return GateRecord(name, None, tuple(options.rules.faults(measures)), measures)


def _is_asked(record: GateRecord, options: GateOptions) -> bool:
    return options.judge is not None and record.measures is not None and (options.ask_all or not record.reasons)


def _verdicts(archive: Archive, wanted: Sequence[int], options: GateOptions) -> dict[int, Verdict]:
    judge = options.judge
    if judge is None or not wanted:
        return {}
    with ThreadPoolExecutor(options.threads) as pool:
        asked: dict[int, Future[Verdict]] = {}
        try:
            for index in wanted:
                asked[index] = pool.submit(_verdict, judge, archive, index, options.sampling_fps)
            return {i: asked[i].result() for i in progress(wanted, f"Asking {judge.source}", unit="clip")}
        except BaseException:
            judge.stop()
            for future in asked.values():
                future.cancel()
            raise


def _verdict(judge: Judge, archive: Archive, index: int, sampling_fps: float) -> Verdict:
    try:
        question = Question(
            _description(archive.entry(index)),
            archive.path_of(index, "video_path"),
            archive.handles[index],
            sampling_fps,
        )
    except ValueError as error:
        return Verdict(Decision.UNDECIDED, reason=str(error), source=judge.source)
    return judge.verdict(question)


def _description(entry: Mapping[str, Any]) -> str:
    prompt = entry.get("prompt", "")
    if not isinstance(prompt, str):
        raise ValueError(f"prompt is {type(prompt).__name__}; expected text.")
    return prompt


def _decided(record: GateRecord, verdict: Verdict | None, options: GateOptions) -> GateRecord:
    if record.measures is None:
        return record
    faults = record.reasons
    decision = decide(faults, verdict, is_judged=options.judge is not None)
    reasons = list(faults)
    if verdict is not None and verdict.decision is Decision.NO:
        reasons.append(f"{verdict.source}: {verdict.analysis or 'does not match the description'}")
    if verdict is not None and verdict.decision is Decision.UNDECIDED and not faults:
        reasons.append(f"{verdict.source}: {verdict.reason}")
    return GateRecord(record.entry_id, decision, tuple(reasons), record.measures, verdict)

"""The gate: which motions of an archive are good enough to condition a generator on.

A motion passes when it keeps the rules (`gate_rules`) and a judge (`vlm`), if there is one, says that it shows its
description. There are three states: yes, no, and undecided wherever no answer could be had. The archive that is read
stays as it is. Numbers and answers are kept by content as soon as they are there, so that a run that was killed goes on
where it stopped.
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
    """What became of an entry.

    Attributes:
        entry_id: of the entry, of whatever type.
        decision: None for entries that have no motion or are none; those pass through unchanged.
        reasons: sentences; why it is no or undecided.
        measures: None where the motion could not be measured.
        verdict: of the judge; None where it was not asked.
        error: what is wrong with the entry or its files; empty when nothing is.
    """

    entry_id: Any
    decision: Decision | None
    reasons: tuple[str, ...] = ()
    measures: Measures | None = None
    verdict: Verdict | None = None
    error: str = ""


@dataclass(frozen=True)
class GateOptions:
    """How an archive is gated.

    Attributes:
        rules: limits for the numbers.
        judge: who looks at the clips; None for nobody, so that the rules decide alone.
        published: measure as the published gate does, see `gate_rules.measure`.
        ask_all: ask the judge also about motions that break a rule.
        threads: questions at a time.
        sampling_fps: pictures per second that a judge sees.
        limit: gate this many entries, the first ones; the others pass through unchanged. None: all.
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
    """Gates the entries of an archive; a faulty entry never keeps others from being gated.

    Args:
        archive: that is read.
        options: how.
        cache: for numbers of the same motion files.

    Returns:
        A record per entry, in order; None for those behind the limit.
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
    """Yes, no or undecided of the broken rules and the verdict.

    A broken rule is enough for no. Without a judge the rules decide alone; with one, its verdict is that of the gate.
    """
    if faults:
        return Decision.NO
    if not is_judged:
        return Decision.YES
    return Decision.UNDECIDED if verdict is None else verdict.decision


def gated_entries(archive: Archive, records: Sequence[GateRecord | None]) -> list[Any]:
    """The entries with the verdict of the gate: FLAG, and under DETAILS the state and its reasons."""
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
            _description(archive.entry(index)), archive.path_of(index, "video_path"), archive.handles[index],
            sampling_fps,
        )  # fmt: skip
    except ValueError as error:
        return Verdict(Decision.UNDECIDED, reason=str(error), source=judge.source)
    return judge.verdict(question)


def _description(entry: Mapping[str, Any]) -> str:
    prompt = entry.get("prompt", "")
    if not isinstance(prompt, str):
        raise ValueError(f"prompt is {type(prompt).__name__} but must be text.")
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

"""Reports of the gate: the documented flat list, and the nested form that published tools write in practice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hmr4d.metrics.mbench import aggregate_metrics
from hmr4d.reference_motion.gate import FLAG, GateRecord
from hmr4d.reference_motion.gate_rules import finite

VERSION = 1


def flat_report(records: Sequence[GateRecord | None]) -> list[dict[str, Any]]:
    """One flat object per gated entry."""
    return [
        {
            "id": record.entry_id,
            "jitter_degree": None if record.measures is None else finite(record.measures.jitter),
            "vlm_analysis": _verdict(record)["vlm_analysis"],
            "vlm_matches": _verdict(record)["vlm_matches"],
            FLAG: record.decision and record.decision.flag,
            "state": record.decision and record.decision.value,
            "reasons": list(record.reasons),
            "error": record.error or None,
            "report_version": VERSION,
        }
        for record in records
        if record is not None
    ]


def nested_report(
    records: Sequence[GateRecord | None], source: str, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The report as one object, with the measurements of every motion in published and in SI units.

    Args:
        records: records of the entries.
        source: path of the archive.
        settings: settings of the gate, JSON.
    """
    gated = [record for record in records if record is not None]
    measured = [record.measures.metrics for record in gated if record.measures is not None]
    return {
        "source_meta": source,
        "version": VERSION,
        "settings": dict(settings or {}),
        "counts": counts(records),
        "records": [_nested(record) for record in gated],
        "aggregate": aggregate_metrics(measured),
    }


def counts(records: Sequence[GateRecord | None]) -> dict[str, int]:
    """Number of entries per result: yes, no, undecided, no motion, not looked at, errors."""
    states = Counter(_state(record) for record in records)
    errors = sum(record is not None and bool(record.error) for record in records)
    return {name: states[name] for name in ("yes", "no", "undecided", "no motion", "not looked at")} | {
        "errors": errors
    }


def _state(record: GateRecord | None) -> str:
    if record is None:
        return "not looked at"
    return "no motion" if record.decision is None else record.decision.value


def _verdict(record: GateRecord) -> dict[str, Any]:
    verdict = record.verdict
    if verdict is None:
        return {"vlm_analysis": "", "vlm_raw": "", "vlm_matches": None}
    return {
        "vlm_analysis": verdict.analysis or verdict.reason,
        "vlm_raw": verdict.raw,
        "vlm_matches": verdict.decision.flag,
    }


def _nested(record: GateRecord) -> dict[str, Any]:
    measures = record.measures
    numbers: dict[str, Any] = {}
    if measures is not None:
        numbers = {
            "motion_metrics": {name: finite(metric.value) for name, metric in measures.metrics.items()},
            "motion_metrics_si": {
                name: {"value": finite(metric.si), "unit": metric.unit} for name, metric in measures.metrics.items()
            },
            "bone_drift_percent": finite(measures.bone_drift),
            "num_frames": measures.num_frames,
            "fps": measures.fps,
            "remarks": list(measures.remarks),
        }
    return {
        "global_id": record.entry_id,
        **(numbers or {"motion_metrics": {}}),
        **_verdict(record),
        "vlm_source": record.verdict.source if record.verdict else "",
        "final_quality": record.decision and record.decision.flag,
        "state": record.decision and record.decision.value,
        "reasons": list(record.reasons),
        "error": record.error or None,
    }

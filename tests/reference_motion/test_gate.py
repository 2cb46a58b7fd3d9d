"""The gate over whole archives: three states, nothing lost, one faulty entry never stops the others."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hmr4d.motion.motion import Motion
from hmr4d.motion.procedural import synthetic_joints
from hmr4d.reference_motion.archive_file import Archive, read_archive
from hmr4d.reference_motion.clip import ReferenceClip
from hmr4d.reference_motion.content_cache import ContentCache
from hmr4d.reference_motion.convert import convert
from hmr4d.reference_motion.gate import GateOptions, GateRecord, gate_archive, gated_entries
from hmr4d.reference_motion.gate_report import counts, flat_report, nested_report
from hmr4d.reference_motion.gate_rules import GateRules, measure
from hmr4d.reference_motion.reference_file import ReferenceMotion, save_reference
from hmr4d.reference_motion.vlm import AskedJudge, Patience, Question, Verdict
from hmr4d.reference_motion.vlm_answer import Decision

YES, NO, UNDECIDED = Decision.YES, Decision.NO, Decision.UNDECIDED


def walking(fps: float = 20.0, frames: int = 60, noise: float = 0.0) -> ReferenceClip:
    joints = synthetic_joints("walk", frames, np.random.default_rng(0))
    joints = joints + np.random.default_rng(1).normal(0, noise, joints.shape) if noise else joints
    return ReferenceClip(Motion(torch.from_numpy(joints.astype(np.float32)), fps, text="a person walks"))


@cache
def converted(fps: float, frames: int, noise: float) -> ReferenceMotion:
    return convert(walking(fps, frames, noise), fps=None)


def saved(path: Path, fps: float = 20.0, frames: int = 60, noise: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_reference(path, converted(fps, frames, noise))
    return path


class Fixed:
    """A judge with a verdict on everything; remembers what it was asked."""

    def __init__(self, decision: Decision) -> None:
        self.decision, self.asked, self.source = decision, list[Question](), "fixed"

    def verdict(self, question: Question) -> Verdict:
        self.asked.append(question)
        return Verdict(self.decision, "seen", "raw", "" if self.decision.flag is not None else "away", self.source)

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """Good, shaking, missing, broken, not finite, without motion, no object, wrong type, and an id of text."""
    saved(tmp_path / "m/good.pt")
    saved(tmp_path / "m/shaking.pt", noise=0.05)
    (tmp_path / "m/broken.pt").write_bytes(b"no motion at all")
    torch.save(torch.full((30, 276), float("nan")), tmp_path / "m/nan.pt")
    torch.save(torch.zeros(30, 200), tmp_path / "m/narrow.pt")
    files = ["good", "shaking", "missing", "broken", "nan", "narrow"]
    entries: list[Any] = [
        {"global_id": n, "prompt": "a person walks", "motion_path": f"m/{name}.pt"} for n, name in enumerate(files)
    ]
    entries += [
        {"id": "only text", "prompt": "a jump", "use_ref_motion": True},
        "no object",
        {"id": 8, "motion_path": [1]},
        {"id": "abc", "prompt": 3, "motion_path": "m/good.pt", "extra": {"kept": 1}},
    ]
    (tmp_path / "a.json").write_text(json.dumps(entries))
    return read_archive(tmp_path / "a.json")


def states(records: list[GateRecord | None]) -> list[Decision | None]:
    return [record and record.decision for record in records]


def test_without_a_judge_the_rules_decide_alone(archive: Archive) -> None:
    records = gate_archive(archive, GateOptions())
    assert states(records) == [YES, NO, UNDECIDED, NO, NO, NO, None, None, NO, YES]
    reasons = [" ".join(record.reasons) for record in records if record]
    assert "jitter" in reasons[1] and "not below 0.04" in reasons[1] and "not found" in reasons[2].lower()
    assert "row 0" in reasons[4] and "276" in reasons[5]
    assert counts(records) == {"yes": 2, "no": 5, "undecided": 1, "no motion": 2, "not looked at": 0, "errors": 6}


@pytest.mark.parametrize("decision", Decision)
def test_the_judge_decides_about_motions_that_satisfy_the_rules(archive: Archive, decision: Decision) -> None:
    judge = Fixed(decision)
    records = gate_archive(archive, GateOptions(judge=judge))
    assert states(records)[:2] == [decision, NO] and [q.name for q in judge.asked] == ["0"]
    assert records[9] is not None and records[9].decision is UNDECIDED and "prompt is int" in records[9].reasons[0]


def test_the_judge_may_be_asked_about_all(archive: Archive) -> None:
    judge = Fixed(YES)
    records = gate_archive(archive, GateOptions(judge=judge, ask_all=True))
    assert len(judge.asked) == 2 and states(records)[:2] == [YES, NO]
    assert records[1] is not None and records[1].verdict is not None and records[1].verdict.decision is YES


def test_an_unreachable_service_is_undecided_and_never_no(archive: Archive, tmp_path: Path) -> None:
    class Away:
        source = "nobody"

        def ask(self, prompt: str, question: Question) -> str:
            from hmr4d.utils.services import TemporaryFailure

            raise TemporaryFailure("cannot be reached")

    entries = [{**archive.entries[0], "video_path": "clip.mp4"}]
    (tmp_path / "clip.mp4").write_bytes(b"x")
    one = Archive(archive.path, archive.root, tuple(entries))
    records = gate_archive(one, GateOptions(judge=AskedJudge(Away(), patience=Patience(attempts=1))))
    written = gated_entries(one, records)[0]
    assert written["use_ref_motion"] is None and written["ref_motion_gate"]["state"] == "undecided"
    assert "cannot be reached" in written["ref_motion_gate"]["reasons"][0]


def test_entries_keep_their_keys_and_those_behind_the_limit_are_unchanged(archive: Archive) -> None:
    records = gate_archive(archive, GateOptions(limit=2))
    written = gated_entries(archive, records)
    assert [entry.get("use_ref_motion") for entry in written[:2]] == [True, False]
    assert written[2:] == list(archive.entries[2:]) and len(written) == len(archive.entries)
    everything = gated_entries(archive, gate_archive(archive, GateOptions()))
    assert everything[9]["extra"] == {"kept": 1} and everything[6:8] == list(archive.entries[6:8])


def test_both_reports_list_every_entry_and_are_json(archive: Archive) -> None:
    records = gate_archive(archive, GateOptions(judge=Fixed(YES)))
    flat, nested = flat_report(records), nested_report(records, "a.json", {"jitter": 0.04})
    json.dumps([flat, nested], allow_nan=False)
    assert len(flat) == len(nested["records"]) == len(archive.entries)
    assert {"id", "jitter_degree", "vlm_analysis", "vlm_matches", "use_ref_motion"} <= set(flat[0])
    assert flat[0]["use_ref_motion"] is True and flat[0]["vlm_matches"] is True and flat[2]["use_ref_motion"] is None
    record = nested["records"][0]
    assert record["final_quality"] is True and record["vlm_raw"] == "raw" and record["global_id"] == 0
    assert record["motion_metrics_si"]["Jitter_Degree"]["value"] == pytest.approx(400 * flat[0]["jitter_degree"])
    assert nested["source_meta"] == "a.json" and nested["aggregate"]["Jitter_Degree"]["num_samples"] == 3


def test_additional_rules_explain_their_failures(tmp_path: Path) -> None:
    measures = measure(saved(tmp_path / "a.pt"))
    strict = GateRules(jitter=0, penetration=-1, sliding=0, floating=0, bone_drift=0, least_motion=99)
    assert len(strict.faults(measures)) == 6
    loose = GateRules(jitter=1, penetration=1, sliding=9, floating=9, bone_drift=9, least_motion=0)
    assert loose.faults(measures) == []


def test_jitter_is_measured_at_the_rate_of_the_models(tmp_path: Path) -> None:
    slow, fast = measure(saved(tmp_path / "a.pt")), measure(saved(tmp_path / "b.pt", fps=60))
    as_published = measure(tmp_path / "b.pt", published=True)
    assert as_published.jitter == pytest.approx(slow.jitter, rel=0.05)  # the same frames, whatever their rate
    assert fast.jitter > 3 * as_published.jitter


def test_a_motion_of_two_frames_cannot_pass_a_limit_of_jitter(tmp_path: Path) -> None:
    measures = measure(saved(tmp_path / "a.pt", frames=3))
    assert measures.num_frames == 2 and "cannot be measured" in GateRules().faults(measures)[0]
    assert any("lasts" in remark for remark in measures.remarks)


def test_measurements_are_cached_by_the_content_of_the_file(tmp_path: Path) -> None:
    path, cache = saved(tmp_path / "a.pt"), ContentCache(tmp_path / "cache")
    first = measure(path, cache=cache)
    assert measure(path, cache=cache) == first and len(list((tmp_path / "cache").rglob("*.json"))) == 1
    saved(path, noise=0.05)
    assert measure(path, cache=cache).jitter > 2 * first.jitter


def test_stopping_ends_the_waiting_of_all_threads(archive: Archive) -> None:
    class Interrupted(Fixed):
        def verdict(self, question: Question) -> Verdict:
            raise KeyboardInterrupt

    judge = Interrupted(YES)
    with pytest.raises(KeyboardInterrupt):
        gate_archive(archive, GateOptions(judge=judge))
    assert judge.stopped

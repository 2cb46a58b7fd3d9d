"""`hmr4d reference check`, `render`, `gate` and `eval` as they are typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hmr4d.cli.main import main
from hmr4d.motion.motion import Motion
from hmr4d.motion.procedural import synthetic_joints
from hmr4d.reference_motion.clip import ReferenceClip
from hmr4d.reference_motion.convert import convert
from hmr4d.reference_motion.reference_file import ReferenceMotion, save_reference
from tests.reference_motion.vlm_server import answers, hangs, says, service

GOOD = '{"analysis": "a person walks", "matches": true}'


@cache
def reference() -> ReferenceMotion:
    joints = synthetic_joints("walk", 6, np.random.default_rng(0)).astype(np.float32)
    return convert(ReferenceClip(Motion(torch.from_numpy(joints), 20.0)), fps=None)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two motions with clips, and an entry of text alone."""
    save_reference(tmp_path / "m.pt", reference())
    entries: list[Any] = [
        {"id": n, "prompt": f"a person walks {n}", "motion_path": "m.pt", "video_path": f"{n}.mp4"} for n in range(2)
    ]
    for n in range(2):
        (tmp_path / f"{n}.mp4").write_bytes(b"clip %d" % n)
    (tmp_path / "a.json").write_text(json.dumps([*entries, {"id": "text", "prompt": "a jump"}]))
    return tmp_path / "a.json"


def run(*words: object) -> int:
    return main(["reference", *map(str, words)])


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def test_the_gate_writes_a_new_archive_and_two_reports(archive: Path) -> None:
    before = archive.read_bytes()
    out = archive.with_name("out.json")
    assert run("gate", archive, "--out", out) == 0
    assert [entry.get("use_ref_motion") for entry in read(out)] == [True, True, None]
    assert archive.read_bytes() == before
    assert len(read(out.with_suffix(".quality_flat.json"))) == 3
    assert read(out.with_suffix(".quality.json"))["counts"]["yes"] == 2


def test_the_exit_status_distinguishes_undecided_from_faulty_entries(archive: Path) -> None:
    with service(answers(GOOD), says("", 401)) as known:
        words = ("--judge", "openai", "--url", known.url, "--model", "m", "--send", "video", "--threads", 1)
        assert run("gate", archive, "--out", archive.with_name("b.json"), *words) == 3
        assert [entry.get("use_ref_motion") for entry in read(archive.with_name("b.json"))] == [True, None, None]
        known.replies[:] = [answers(GOOD)]
        assert run("gate", archive, "--out", archive.with_name("b.json"), *words) == 0
    assert len(known.requests) == 3  # the first answer was kept
    (archive.parent / "m.pt").unlink()
    assert run("gate", archive, "--out", archive.with_name("c.json")) == 1


def test_missing_options_of_a_judge_give_one_sentence(
    archive: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    out = archive.with_name("out.json")
    for judge, words in (("openai", "--url and --model"), ("people", "--verdicts"), ("gemini", "GEMINI_API_KEY")):
        assert run("gate", archive, "--out", out, "--judge", judge) == 2
        assert words in capsys.readouterr().err
    assert run("gate", archive, "--out", archive) == 2 and "never overwritten" in capsys.readouterr().err
    assert not out.exists()


def test_a_gate_that_is_killed_continues_where_it_was(archive: Path) -> None:
    released = threading.Event()
    out = archive.with_name("out.json")
    with service(answers(GOOD), hangs(released)) as known:
        words = ["gate", str(archive), "--out", str(out), "--judge", "openai", "--url", known.url, "--model", "m",
                 "--send", "video", "--threads", "1"]  # fmt: skip
        process = subprocess.Popen([sys.executable, "-m", "hmr4d", "reference", *words], cwd=Path.cwd())
        end = time.monotonic() + 60
        while len(known.requests) < 2 and time.monotonic() < end:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not out.exists() and len(known.requests) == 2
        known.replies[:] = [answers(GOOD)]
        assert main(["reference", *words]) == 0
        released.set()
    assert len(known.requests) == 3  # one answer was there already
    assert [entry.get("use_ref_motion") for entry in read(out)] == [True, True, None]
    assert not list(archive.parent.glob(".out*"))


def test_rendered_archives_are_gated_and_checked(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = archive.with_name("rendered.json")
    assert run("render", archive, "--out", out, "--size", "64x64", "--limit", 1) == 0
    entries = read(out)
    assert (archive.parent / entries[0]["video_path"]).is_file() and entries[1:] == read(archive)[1:]
    (archive.parent / "v.csv").write_text("id,matches\n0,yes\n1,no\n")
    people = ("--judge", "people", "--verdicts", archive.parent / "v.csv")
    assert run("gate", out, "--out", archive.with_name("gated.json"), *people) == 0
    assert [entry.get("use_ref_motion") for entry in read(archive.with_name("gated.json"))] == [True, False, None]
    checks = archive.parent / "checks"
    assert run("check", archive.parent / "m.pt", "--out", checks, "--size", "64x64", "--only", "depth") == 0
    assert [path.name for path in checks.iterdir()] == ["m_depth.mp4"]
    assert run("check", archive, "--out", checks) == 2


def test_metrics_are_printed_and_written(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    joints = synthetic_joints("walk", 30, np.random.default_rng(0))
    np.save(archive.parent / "j.npy", joints)
    np.save(archive.parent / "bad.npy", np.full((4, 22, 3), np.nan))
    files = [archive.parent / name for name in ("j.npy", "bad.npy", "m.pt")]
    assert run("eval", *files, "--json", archive.with_name("metrics.json")) == 1
    printed = capsys.readouterr()
    assert "Jitter_Degree" in printed.out and "m/s^2" in printed.out and "Pose_Quality" in printed.out
    assert "frame 0" in printed.err
    content = read(archive.with_name("metrics.json"))
    assert content["aggregate"]["Foot_Sliding"]["num_samples"] == 2 and len(content["errors"]) == 1
    assert set(content["not_measured"]) == {"Pose_Quality", "Body_Penetration"}
    assert run("eval", archive.parent / "j.npy", "--height-axis", "legacy") == 0
    words = ("--penetration-body", "stick", "--json", archive.with_name("more.json"))
    assert run("eval", archive.parent / "j.npy", archive.parent / "m.pt", *words) == 0
    content = read(archive.with_name("more.json"))
    assert content["aggregate"]["Body_Penetration"]["num_samples"] == 2
    assert set(content["not_measured"]) == {"Pose_Quality"}
    assert run("eval", archive.parent / "j.npy", "--pose-network", "no.tar") == 2


def test_half_characters_in_an_archive_or_an_answer_lose_no_verdict(archive: Path) -> None:
    entries = read(archive)[:1]
    archive.write_text(json.dumps([{**entries[0], "id": "\ud83d", "note": "\udc00"}]))
    with service(answers('{"analysis": "walks \\ud83d", "matches": true}')) as known:
        words = ("--judge", "openai", "--url", known.url, "--model", "m", "--send", "video")
        assert run("gate", archive, "--out", archive.with_name("out.json"), *words) == 0
    (entry,) = read(archive.with_name("out.json"))
    assert (entry["id"], entry["note"], entry["use_ref_motion"]) == ("\ud83d", "\udc00", True)
    assert read(archive.with_name("out.quality_flat.json"))[0]["vlm_analysis"] == "walks \ud83d"


def test_metrics_of_other_joints_than_22_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All joints count in jitter, so that hands would change the number."""
    np.save(tmp_path / "a.npy", np.zeros((5, 24, 3)))
    assert run("eval", tmp_path / "a.npy") == 2
    assert "(5, 24, 3); expected joints (L, 22, 3)" in capsys.readouterr().err

"""`hmr4d reference`: steps from files of other systems to reference motions and on to other programs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.cli.main import main
from hmr4d.cli.view import parser as view_parser
from hmr4d.cli.view import read_all
from hmr4d.export.motion_npz import load_motion_npz, save_motion_npz
from hmr4d.motion.procedural import synthetic_joints
from hmr4d.reference_motion.clip_file import load_clip
from hmr4d.reference_motion.reference_file import load_reference
from tests.motions import as_motion
from tests.reference_motion import layouts
from tests.reference_motion.layouts import Person


def test_import_writes_a_motion_file_with_its_camera(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = layouts.gvhmr(tmp_path, Person(20))
    assert main(["reference", "import", str(path), "--out", str(tmp_path / "out"), "--fps-in", "25"]) == 0
    clip = load_clip(tmp_path / "out" / "hmr4d_results.npz")
    assert (clip.system, clip.motion.fps, clip.is_level) == ("gvhmr", 25.0, True)
    assert clip.camera is not None and clip.camera.size == layouts.SIZE and clip.frames == list(range(20))
    assert float(clip.motion.joints3d[..., 1].min()) == pytest.approx(0, abs=1e-5)
    T, person = clip.camera.T_w2c, Person(20)
    seen = clip.motion.joints3d @ T[:, :3, :3].mT + T[:, None, :3, 3]
    expected = person.joints().float() * torch.tensor([1.0, -1.0, -1.0])
    torch.testing.assert_close(seen, expected, atol=1e-4, rtol=0)


def test_convert_and_export_continue_from_each_other(tmp_path: Path) -> None:
    path = layouts.smplestx(tmp_path, Person(61))
    out = tmp_path / "walk_276.pt"
    assert main(["reference", "convert", str(path), "--out", str(out), "--text", "a person sways"]) == 0
    reference = load_reference(out)
    assert reference.features.shape == (40, 276) and reference.text == "a person sways" and reference.fps == 20
    words = ["reference", "export", str(out), "--to", "npz,amass,hml263,joints", "--out", str(tmp_path / "x")]
    assert main(words) == 0
    assert load_motion_npz(tmp_path / "x" / "walk_276.npz").text == "a person sways"
    assert np.load(tmp_path / "x" / "walk_276_hml263.npy").shape == (40, 263)
    assert np.load(tmp_path / "x" / "walk_276_joints.npy").shape == (41, 22, 3)
    again = tmp_path / "again.pt"
    assert main(["reference", "convert", str(tmp_path / "x" / "walk_276.amass.npz"), "--out", str(again)]) == 0
    torch.testing.assert_close(
        load_reference(again).features[:-1, :126], reference.features[:-1, :126], atol=1e-3, rtol=0
    )


def test_convert_as_published_keeps_the_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = layouts.smplestx(tmp_path, Person(20), fps=16.0)
    assert main(["reference", "convert", str(path), "--published"]) == 0
    reference = load_reference(tmp_path / "clip_params_276.pt")
    assert reference.features.shape == (19, 276) and reference.fps == 16
    path = layouts.gvhmr(tmp_path, Person(20))
    assert main(["reference", "convert", str(path), "--published"]) == 2
    assert "Read the file with --space camera" in capsys.readouterr().err


def test_joints_of_our_own_models_become_reference_motions(tmp_path: Path) -> None:
    joints3d = synthetic_joints("walk", 60, np.random.default_rng(0))
    save_motion_npz(tmp_path / "walk.npz", as_motion(joints3d, text="a person walks"))
    assert main(["reference", "convert", str(tmp_path / "walk.npz"), "--level", "--smooth", "--lock-feet"]) == 0
    reference = load_reference(tmp_path / "walk_276.pt")
    made = reference.motion(extra_frame=True)
    way = made.joints3d[-1, 0] - made.joints3d[0, 0]
    assert float(way.norm()) == pytest.approx(float(np.linalg.norm(joints3d[-1, 0] - joints3d[0, 0])), rel=0.05)
    assert reference.text == "a person walks" and reference.extrinsic is None


def test_inspect_says_what_is_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = layouts.wham(tmp_path, {3: Person(20), 5: Person(9)})
    assert main(["reference", "inspect", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["system"], facts["frames"], facts["camera"]) == ("WHAM", 20, "moving")
    assert facts["remarks"][0].startswith("The file has 2 people: 3 (20 frames), 5 (9 frames)")
    assert main(["reference", "inspect", str(path)]) == 0
    assert "system        WHAM\n" in capsys.readouterr().out


def test_bad_files_are_named_and_the_others_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = layouts.smplestx(tmp_path, Person(20))
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    words = ["reference", "convert", str(good), str(tmp_path / "bad.pt"), "--out", str(tmp_path / "out")]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "1 of 2 could not be used" in said and "bad.pt is damaged or of no kind" in said
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["clip_params_276.pt"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--frames", "7"], "not a range of frames"),
        (["--size", "big"], "not an image size"),
        (["--fps-in", "-3"], "fps is -3.0"),
        (["--video", "gone.mp4"], "Video not found: gone.mp4"),
    ],
)
def test_bad_options_end_in_one_sentence(
    tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = layouts.smplestx(tmp_path, Person(20))
    try:
        status = main(["reference", "convert", str(path), *words])
    except SystemExit as stop:
        status = stop.code
    assert status == 2 and said in capsys.readouterr().err


def test_files_of_other_systems_are_exported_fitted_and_shown_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gvhmr = layouts.gvhmr(tmp_path, Person(20))
    wham = layouts.wham(tmp_path, {1: Person(20)})
    amass = layouts.amass(tmp_path, Person(40))
    out = tmp_path / "out"
    assert main(["export", str(gvhmr), str(wham), str(amass), "--to", "npz", "--out", str(out)]) == 0
    names = ["hmr4d_results.npz", "walk_poses.npz", "wham_output.npz"]
    assert sorted(p.name for p in out.iterdir()) == names
    assert load_motion_npz(out / "hmr4d_results.npz").pose is not None
    assert "30 frames per second are assumed" in caplog.text
    assert main(["fit", str(gvhmr), "--body", "stick", "--out", str(out)]) == 0
    shown = read_all(view_parser().parse_args([str(gvhmr), str(out / "wham_output.npz")]))
    assert [motion.name for motion in shown] == ["hmr4d_results", "wham_output"]


def test_run_does_everything_for_one_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = layouts.smplestx(tmp_path, Person(8), fps=20.0)
    out = tmp_path / "out"
    words = ["--prompt", "a person sways", "--out", str(out), "--longest", "96", "--body", "stick"]
    with caplog.at_level("INFO"):
        assert main(["reference", "run", str(path), *words, "--judge", "off", "--jitter", "0.5"]) == 0
    assert "Use as reference: yes." in caplog.text
    (entry,) = json.loads((out / "clip_params_gated.json").read_text())
    assert entry["use_ref_motion"] is True and entry["prompt"] == "a person sways"
    assert load_reference(out / "clip_params_276.pt").text == "a person sways"
    assert load_clip(out / "clip_params.npz").camera is not None
    for name in ("clip_params.html", "clip_params_276_depth.mp4", "clip_params_276_turntable.mp4"):
        assert (out / name).stat().st_size > 1000


def _run(path: Path, out: Path, *words: str) -> int:
    usual = ["--prompt", "a person sways", "--longest", "64", "--body", "stick", "--jitter", "9"]
    return main(["reference", "run", str(path), "--out", str(out), *usual, *words])


def test_run_works_below_a_folder_with_a_readme(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("relative paths of archives start here")
    out = tmp_path / "outputs" / "sway"
    assert _run(layouts.smplestx(tmp_path, Person(8), fps=20.0), out) == 0
    (entry,) = json.loads((out / "clip_params_gated.json").read_text())
    assert entry["use_ref_motion"] is True and entry["motion_path"] == "outputs/sway/clip_params_276.pt"


def test_run_replaces_results_of_the_same_file_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    one, two = (layouts.smplestx(folder, Person(8), fps=20.0) for folder in folders)
    out = tmp_path / "out"
    assert _run(one, out) == 0 and _run(one, out) == 0
    kept = {p: p.read_bytes() for p in out.iterdir() if p.is_file()}
    assert _run(two, out) == 2
    assert f"is the result of {one.resolve()}" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in out.iterdir() if p.is_file()} == kept


def test_run_never_replaces_what_it_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk = tmp_path / "walk.npz"
    save_motion_npz(walk, as_motion(synthetic_joints("walk", 20, np.random.default_rng(0))))
    before = walk.read_bytes()
    assert _run(walk, tmp_path) == 2
    assert "is read, and would be replaced" in capsys.readouterr().err
    clip = layouts.smplestx(tmp_path, Person(8), fps=20.0)
    notes = tmp_path / "clip_params.json"
    notes.write_text("my notes")
    assert _run(clip, tmp_path) == 2
    assert "no result of this command" in capsys.readouterr().err
    assert (walk.read_bytes(), notes.read_text()) == (before, "my notes")


def test_import_and_export_leave_other_files_next_to_their_input_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = layouts.smplestx(tmp_path, Person(8), fps=20.0)
    beside = tmp_path / "clip_params.npz"
    np.savez(beside, kp2d=np.zeros((8, 17, 2)))
    before = beside.read_bytes()
    assert main(["reference", "import", str(clip)]) == 2
    assert "not a result of" in capsys.readouterr().err and beside.read_bytes() == before
    beside.unlink()
    assert main(["reference", "import", str(clip)]) == 0 and main(["reference", "import", str(clip)]) == 0
    before = beside.read_bytes()
    assert main(["reference", "export", str(beside), "--to", "npz"]) == 2
    assert "its own copy" in capsys.readouterr().err and beside.read_bytes() == before

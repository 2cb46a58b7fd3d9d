"""tools/export.py: motion files in, files of every format out, and one sentence per mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hmr4d.cli.export import main
from hmr4d.export.motion_npz import save_motion_npz
from hmr4d.motion_files.bvh import read_bvh
from tests.body.smplh_file import write_smplh
from tests.export.motions import rigid_motion
from tests.motions import as_motion


@pytest.fixture
def motion(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "000_sways.npz"
    save_motion_npz(path, as_motion(rigid_motion(4), fps=20, text="sways", metadata={"licence": "CC0"}))
    return path


def refused(capsys: pytest.CaptureFixture[str], *words: object, code: int = 2) -> str:
    assert main([str(w) for w in words]) == code
    message = capsys.readouterr().err
    assert message.startswith("error: ") and message.count("\n") == 1
    return message


def test_a_file_in_several_formats(motion: Path, tmp_path: Path) -> None:
    assert main([str(motion), "--to", "bvh,csv,amass", "--out", str(tmp_path / "out")]) == 0
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["000_sways.amass.npz", "000_sways.bvh", "000_sways.bvh.json", "000_sways.csv"]
    facts = json.loads((tmp_path / "out" / "000_sways.bvh.json").read_text("utf-8"))
    assert (facts["text"], facts["licence"]) == ("sways", "CC0")


def test_a_folder_with_names_and_units(motion: Path) -> None:
    again = [str(motion.parent), "--to", "bvh,amass", "--bones", "mixamo", "--units", "cm"]
    assert main(again) == 0
    assert main(again) == 0, "exported files beside the motion are no motion"
    clip = read_bvh(motion.with_suffix(".bvh"))
    assert clip.joint_names[0] == "mixamorig:Hips"
    assert 80 < clip.motion[0, 1] < 110, "centimetres"


def test_for_ones_own_body_model(motion: Path, tmp_path: Path) -> None:
    models = write_smplh(tmp_path, "female")
    words = [str(motion), "--to", "amass", "--body-models", str(models), "--gender", "female"]
    assert main(words) == 0
    with np.load(motion.with_suffix(".amass.npz")) as archive:
        assert str(archive["gender"]) == "female" and archive["rest_joints"][0] @ [0, 1, 0] < 0.5


def test_mistakes_are_told_in_one_sentence(motion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such file" in refused(capsys, tmp_path / "none.npz")
    (tmp_path / "empty").mkdir()
    assert "No motion in" in refused(capsys, tmp_path / "empty")
    assert "known: ['amass', 'bvh'" in refused(capsys, motion, "--to", "obj")
    assert "Blender writes FBX from glb or bvh" in refused(capsys, motion, "--to", "bvh,FBX")
    assert "--bones has no effect on csv; it is for bvh" in refused(capsys, motion, "--to", "csv", "--bones", "unity")
    assert "overwritten by its own copy" in refused(capsys, motion, "--to", "npz")
    missing = refused(capsys, motion, "--to", "amass", "--body-models", tmp_path / "none")
    assert str(tmp_path / "none" / "smplh" / "neutral" / "model.npz") in missing and "register at" in missing
    assert "male" not in missing
    for name in ("walk.bvh", "walk.csv"):
        (tmp_path / name).write_text("")
        assert f"{tmp_path / name}: motion files (.npz) are read" in refused(capsys, motion, tmp_path / name)
    twin = tmp_path / "twin" / motion.name
    save_motion_npz(twin, as_motion(rigid_motion(2), fps=20))
    assert "would both be" in refused(capsys, motion, twin, "--out", tmp_path / "out")
    (tmp_path / "file").write_text("")
    assert "Choose a folder with --out" in refused(capsys, motion, "--out", tmp_path / "file" / "out")
    (tmp_path / "text.npz").write_text("hello")
    assert "not an .npz file" in refused(capsys, tmp_path / "text.npz")
    assert not (tmp_path / "out").exists()


def test_one_bad_motion_leaves_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_motion_npz(tmp_path / "m.npz", as_motion(rigid_motion(2), fps=20))
    with np.load(tmp_path / "m.npz") as archive:
        content = {key: archive[key] for key in archive.files}
    content["joints3d"][1, 3, 0] = np.nan
    np.savez(tmp_path / "m.npz", **content)
    assert "frame 1, joint 3 (spine1)" in refused(capsys, tmp_path / "m.npz", "--to", "bvh,csv")
    assert [p.name for p in tmp_path.iterdir()] == ["m.npz"]


def test_bad_motions_are_reported_and_the_others_written(
    motion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = motion.parent
    save_motion_npz(folder / "a_flat.npz", as_motion(np.zeros((3, 22, 3)), fps=20))
    save_motion_npz(folder / "b_large.npz", as_motion(100 * rigid_motion(3), fps=20))
    (folder / "c_text.npz").write_text("hello")
    save_motion_npz(folder / "d_sways.npz", as_motion(rigid_motion(3), fps=20))
    out = tmp_path / "out"
    assert main([str(folder), "--to", "bvh,mp4,html", "--out", str(out)]) == 1
    assert {p.name.split(".")[0] for p in out.iterdir()} == {"000_sways", "d_sways"} and len(list(out.iterdir())) == 8
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "error: 3 of 5 could not be used:" and len(lines) == 4
    reasons = {"a_flat": "measure 0 meters", "b_large": "Give joints in meters", "c_text": "not an .npz file"}
    for line, (name, reason) in zip(lines[1:], reasons.items(), strict=True):
        assert line.startswith(f"error: {folder / name}.npz") and reason in line


def test_options_of_another_command_are_told_as_such(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    np.savez(tmp_path / "a.npz", poses=np.zeros((30, 72)), trans=np.zeros((30, 3)), betas=np.zeros(10))
    assert main([str(tmp_path / "a.npz"), "--out", str(tmp_path / "out")]) == 0
    (told,) = [record.getMessage() for record in caplog.records if "no frame rate" in record.getMessage()]
    assert told.endswith("--fps-in sets another rate. (Options of hmr4d reference import, which writes a motion file.)")


def test_a_motion_with_z_up_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    joints3d = rigid_motion(5)
    joints3d[..., 1] -= joints3d[..., 1].min()
    save_motion_npz(tmp_path / "y.npz", as_motion(joints3d, fps=20))
    turned = np.stack([joints3d[..., 0], -joints3d[..., 2], joints3d[..., 1]], -1)
    save_motion_npz(tmp_path / "z.npz", as_motion(turned, fps=20))
    assert main([str(tmp_path), "--to", "csv"]) == 0
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warning.startswith(f"{tmp_path / 'z.npz'}: The body stands along z; is z up?")

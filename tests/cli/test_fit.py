"""`fit_smpl` and `joints2smpl`: motion files in, pose parameters out that pose the body where the joints were."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import roma
import torch

from hmr4d.body.loading import load_body
from hmr4d.body.skeleton import SMPL22
from hmr4d.body.smpl_bodies import load_smpl_body
from hmr4d.cli import fit
from hmr4d.engine.callbacks.body_fitter import BodyFitter
from hmr4d.export.motion_npz import save_motion_npz
from hmr4d.motion.motion import MotionBatch, Provenance
from tests.body.smpl_models import write_model
from tests.body.true_motions import true_motions
from tests.motions import as_motion

UPRIGHT = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # y up to z up


def motion() -> torch.Tensor:
    """(40, 22, 3) meters; a person with a shape of his own turns twice."""
    body = load_body("anny")
    body = body.with_bone_lengths(1.1 * body.bone_lengths)
    return body.pose(true_motions(40)["two turns"], torch.tensor([1.0, 0.0, 2.0]).expand(40, 3))


def write_motion(path: Path, joints3d: torch.Tensor) -> Path:
    save_motion_npz(path, as_motion(joints3d, fps=30.0, text="turns", metadata={"licence": "CC0"}))
    return path


def test_a_file_of_parameters_poses_the_free_body(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    joints3d = motion()
    source = write_motion(tmp_path / "turn.npz", joints3d)
    with caplog.at_level("INFO", logger="hmr4d"):
        assert fit.main([str(source), "--out", str(tmp_path / "fitted")]) == 0
    assert "40 frames, joint errors 0.0 mm" in caplog.text
    with np.load(tmp_path / "fitted" / "turn.anny.amass.npz", allow_pickle=False) as file:
        saved = dict(file)
    assert "betas" not in saved
    about = json.loads(str(saved["metadata"]))
    assert (about["fps"], about["text"], about["licence"], about["num_frames"]) == (30.0, "turns", "CC0", 40)
    assert about["residual"]["mean_mm"] < 0.1
    assert {"joint": "head", "part": "rotation", "share_of_frames": 1.0} in about["undetermined"]
    body = load_body("anny").with_rest_joints(torch.from_numpy(saved["rest_joints"]))
    rotations = roma.rotvec_to_rotmat(torch.from_numpy(saved["poses"]).unflatten(-1, (-1, 3)))
    lift = torch.from_numpy(saved["rest_joints"]) - body.rest_joints
    posed = body.pose(rotations, torch.from_numpy(saved["trans"]).float()) + lift[0]
    torch.testing.assert_close(posed, joints3d @ UPRIGHT.mT, atol=1e-3, rtol=0)


def test_a_fit_of_smplh_is_what_amass_has(tmp_path: Path) -> None:
    write_model(tmp_path / "models", "smplh", "male")
    model = load_smpl_body("smplh", gender="male", folder=tmp_path / "models")
    true = model.with_betas(torch.tensor([0.5, -1.0, 1.5]))
    joints3d = true.pose(true.from_smpl22(true_motions(40)["bow"]))[:, :22]
    write_motion(tmp_path / "motions" / "bow.npz", joints3d)
    words = [
        str(tmp_path / "motions"),
        "--body",
        "smplh",
        "--gender",
        "male",
        "--body-models",
        str(tmp_path / "models"),
    ]
    assert fit.main(words) == 0
    with np.load(tmp_path / "motions" / "bow.smplh.amass.npz", allow_pickle=False) as file:
        saved = dict(file)
    shapes = {name: saved[name].shape for name in ("poses", "trans", "betas", "dmpls")}
    assert shapes == {"poses": (40, 156), "trans": (40, 3), "betas": (16,), "dmpls": (40, 8)}
    assert (str(saved["gender"]), float(saved["mocap_framerate"])) == ("male", 30.0)
    assert not saved["poses"][:, 66:].any()  # hands
    rotations = roma.rotvec_to_rotmat(torch.from_numpy(saved["poses"]).unflatten(-1, (-1, 3)))
    shaped = model.with_betas(torch.from_numpy(saved["betas"]).float())
    posed = shaped.pose(rotations, torch.from_numpy(saved["trans"]).float())[:, :22]
    torch.testing.assert_close(posed, joints3d @ UPRIGHT.mT, atol=1e-3, rtol=0)
    assert fit.main(words) == 0  # files of parameters beside the motions are not taken for motions


def test_published_command_fits_the_first_ten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HMR4D_INPUTS", str(tmp_path / "inputs"))
    assert fit.published_main([]) == 2  # no joints yet
    write_model(tmp_path / "inputs" / "checkpoints" / "body_models", "smpl")
    table = {f"{i:06d}.npy": {"joints3d": motion()[:20].numpy(), "name": "a"} for i in range(12)}
    (tmp_path / "inputs" / "hml3d").mkdir()
    torch.save(table, tmp_path / "inputs" / "hml3d" / "joints3d.pth")
    assert fit.published_main([]) == 0
    files = sorted((tmp_path / "outputs" / "joints2smpl").iterdir())
    assert [f.name for f in files] == [f"{i:06d}.smpl.amass.npz" for i in range(10)]
    with np.load(files[0], allow_pickle=False) as saved:
        assert saved["poses"].shape == (20, 72)
        assert saved["betas"].shape == (10,)
        assert float(saved["mocap_framerate"]) == 20.0


def test_generated_motions_are_fitted_in_a_run(tmp_path: Path) -> None:
    joints3d = torch.nn.functional.pad(motion()[None].repeat(2, 1, 1, 1), (0, 0, 0, 0, 0, 8))
    output = MotionBatch(joints3d=joints3d, lengths=torch.tensor([40, 30]), fps=20.0, text=["a turn", "and/or half"])
    callback, batch = BodyFitter(str(tmp_path)), {"seed": torch.tensor([3, 4])}
    callback.on_predict_batch_end(SimpleNamespace(global_rank=0), None, output, batch, 0)  # type: ignore[arg-type]
    files = sorted(tmp_path.iterdir())
    assert [f.name for f in files] == ["0_00000_a_turn.anny.amass.npz", "0_00001_and_or_half.anny.amass.npz"]
    with np.load(files[1], allow_pickle=False) as saved:
        assert saved["poses"].shape == (30, 66)
        plain = saved["poses"]
    named = replace(output, joint_convention="bandai_namco", provenance=Provenance(licence="mine"))
    BodyFitter(str(tmp_path / "named")).on_predict_batch_end(SimpleNamespace(global_rank=0), None, named, batch, 0)  # type: ignore[arg-type]
    arrays = dict(np.load(tmp_path / "named" / files[1].name, allow_pickle=False))
    about = json.loads(str(arrays["metadata"]))["metadata"]
    assert about.pop("command")
    assert about == {"licence": "mine", "joint_convention": "bandai_namco", "seed": 4}
    neck = 3 * SMPL22.index("neck")
    assert np.abs(arrays["poses"] - plain)[:, neck : neck + 3].max() > 0.1


def test_what_a_killed_run_left_is_not_taken_for_a_motion(tmp_path: Path) -> None:
    write_motion(tmp_path / "turn.npz", motion())
    (tmp_path / ".turn.x1.npz").touch()
    assert fit.main([str(tmp_path)]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"turn.npz", ".turn.x1.npz", "turn.anny.amass.npz"}


def test_bad_input_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HMR4D_INPUTS", str(tmp_path))
    source = str(write_motion(tmp_path / "turn.npz", motion()))
    flat = str(write_motion(tmp_path / "flat.npz", torch.zeros(3, 22, 3)))
    with np.load(source) as file:
        arrays = dict(file)
    holed = arrays["joints3d"].copy()
    holed[4, 3] = np.nan
    np.savez(tmp_path / "holed.npz", **arrays | {"joints3d": holed})
    np.savez(tmp_path / "other.npz", **arrays | {"skeleton": np.str_("centaur30")})
    wrong = {
        "No such file": [str(tmp_path / "none.npz")],
        "Register at https://mano": [source, "--body", "smplh"],
        "--gender has no effect on body 'anny'": [source, "--gender", "male"],
        "flat.npz is no folder, or lies in a file. Choose another place": [source, "--out", flat],
    }
    bad = {
        "flat.npz: The bone pelvis - left_hip has no length at frame 0": [flat],
        "joints3d is not finite at frame 4, joint 3 (spine1)": [str(tmp_path / "holed.npz")],
        "Unknown skeleton 'centaur30'": [str(tmp_path / "other.npz")],
    }
    for message, words in (wrong | bad).items():
        assert fit.main(words) == 2
        err = capsys.readouterr().err
        assert message.lower() in err.lower() and err.count("\n") == 1
    assert not list(tmp_path.glob("*.amass.npz"))


def test_bad_motions_are_reported_and_the_others_fitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    joints3d = motion()[:10]
    write_motion(tmp_path / "a_flat.npz", torch.zeros(3, 22, 3))
    write_motion(tmp_path / "b_large.npz", 100 * joints3d)
    (tmp_path / "c_text.npz").write_text("hello")
    write_motion(tmp_path / "d_deep.npz", joints3d - torch.tensor([0.0, 1.0, 0.0]))
    assert fit.main([str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "error: 3 of 4 could not be used:"
    assert [line.split(".npz")[0] for line in lines[1:]] == [
        f"error: {tmp_path / name}" for name in ("a_flat", "b_large", "c_text")
    ]
    assert "Give joints in meters" in lines[2]
    assert [p.name for p in tmp_path.glob("*.amass.npz")] == ["d_deep.anny.amass.npz"]
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "below the floor; is z up?" in warning and str(tmp_path / "d_deep.npz") in warning


def test_too_many_shape_coefficients_are_reported_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(tmp_path / "models", "smpl")
    for name in "ab":
        write_motion(tmp_path / f"{name}.npz", motion()[:2])
    words = [str(tmp_path), "--body", "smpl", "--body-models", str(tmp_path / "models"), "--num-betas", "999"]
    assert fit.main(words) == 2
    assert capsys.readouterr().err.startswith("error: num_betas is 999")

"""Reference motions on a body of the user: bones, mesh, videos and numbers come from the file of the model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.body.loading import load_body
from hmr4d.body.smpl_bodies import SmplBody
from hmr4d.cli.main import main
from hmr4d.motion.skinning import drive_body
from hmr4d.reference_motion.convert import published_features
from hmr4d.reference_motion.reference_file import ReferenceMotion, load_reference
from hmr4d.reference_motion.rest_joints import SMPLX_PELVIS
from tests.body.smpl_models import write_model
from tests.reference_motion import layouts
from tests.reference_motion.layouts import Person


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a made-up SMPL-X model of the true layout, and with the pelvis of the true one."""
    folder = tmp_path_factory.mktemp("models")
    path = write_model(folder, "smplx")
    arrays = dict(np.load(path))
    arrays["v_template"] += np.array(SMPLX_PELVIS) - (arrays["J_regressor"] @ arrays["v_template"])[0]
    np.savez(path, **arrays)
    return folder


def body_of(models: Path) -> SmplBody:
    body = load_body("smplx", folder=models)
    assert isinstance(body, SmplBody)
    return body


def run(*words: object) -> int:
    return main(["reference", *map(str, words)])


def test_features_are_made_with_the_bones_of_the_model(tmp_path: Path, models: Path) -> None:
    path = layouts.smplestx(tmp_path, Person(20), fps=20.0)
    assert run("convert", path, "--out", tmp_path / "x.pt", "--body-models", models) == 0
    reference = load_reference(tmp_path / "x.pt")
    torch.testing.assert_close(reference.rest_joints, body_of(models).rest_joints[:22], atol=1e-5, rtol=0)


def test_the_mesh_of_a_published_file_is_that_of_its_parameters(models: Path) -> None:
    """The file does not say its bones; they are measured on its features, and the mesh is that of the model."""
    body, given = body_of(models), layouts.parameters(Person(12))
    features, _ = published_features(*given.values(), body.rest_joints[:22])  # type: ignore[arg-type]
    motion = ReferenceMotion(features).motion()
    assert motion.pose is not None
    expected = body.vertices(body.from_smpl22(motion.pose.rotations), motion.pose.translation)
    got = torch.stack(list(drive_body(motion, body).meshes()))
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)


def test_run_draws_and_measures_the_model(tmp_path: Path, models: Path) -> None:
    path, out = layouts.smplestx(tmp_path, Person(6), fps=20.0), tmp_path / "out"
    words = ("--body", "smplx", "--body-models", models, "--longest", 64)
    assert run("run", path, "--prompt", "a person sways", "--out", out, *words) == 0
    assert (out / "clip_params_276_depth.mp4").stat().st_size and (out / "clip_params_276_turntable.mp4").is_file()
    archive, rendered = out / "clip_params.json", out / "r.json"
    words = ("--clips", tmp_path / "clips", "--size", "64x64", "--vertices", "--body", "smplx", "--body-models", models)
    assert run("render", archive, "--out", rendered, *words) == 0
    (entry,) = json.loads(rendered.read_text())
    content = torch.load(tmp_path / "clips" / "clip_params.pt", weights_only=True)
    assert content["vertices"].shape == (5, body_of(models).num_vertices, 3) and entry["video_path"]


def test_body_penetration_is_that_of_the_mesh_of_the_model(tmp_path: Path, models: Path) -> None:
    """Arms that are turned into the trunk cut it; arms that hang do not cut it more than the rest pose does."""
    shares = {}
    for name, degrees in (("rest", 0.0), ("through the trunk", 170.0)):
        given = {key: value.clone() for key, value in layouts.parameters(Person(4)).items()}
        given["body_pose"][:] = 0
        for joint, side in ((16, 1), (17, -1)):
            given["body_pose"].reshape(4, 21, 3)[:, joint - 1, 1] = np.deg2rad(degrees) * -side
        torch.save(given, tmp_path / "p.pt")
        words = ("--out", tmp_path / "m.pt", "--body-models", models, "--fps-in", 20)
        assert run("convert", tmp_path / "p.pt", *words) == 0
        words = ("--penetration-body", "smplx", "--body-models", models, "--json", tmp_path / "e.json")
        assert run("eval", tmp_path / "m.pt", *words) == 0
        shares[name] = json.loads((tmp_path / "e.json").read_text())["aggregate"]["Body_Penetration"]["mean"]
    assert shares["through the trunk"] > shares["rest"] + 1


def test_a_missing_model_is_reported_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = layouts.smplestx(tmp_path, Person(6), fps=20.0), tmp_path / "out"
    words = ("--body", "smplx", "--body-models", tmp_path / "none")
    assert run("run", path, "--prompt", "x", "--out", out, *words) == 2
    assert "SMPLX_NEUTRAL" in capsys.readouterr().err and not out.exists()

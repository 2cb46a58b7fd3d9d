"""AMASS files in all the ways they are written, and in the ways they are broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmr4d.body.smplh_joints import load_smplh_joints
from hmr4d.data.importers.amass import SourceProblem, amass_joints, read_amass
from tests.body.smplh_file import joints_by_chains, write_smplh
from tests.data.amass_files import amass_arrays, npz_bytes


def with_gender(gender: Any) -> bytes:
    return npz_bytes(amass_arrays("KIT") | {"gender": gender})


@pytest.mark.parametrize(
    ("gender", "model"),
    [
        (np.array("male"), "male"),
        (np.array(["male"]), "male"),
        (np.array("male", object), "male"),
        (np.array("female"), "female"),
        (np.array("neutral"), "female"),
        (np.array("unknown"), "female"),
        (np.array(b"male"), "female"),
        (np.array([b"male"]), "female"),
        (np.array(b"male", object), "female"),
    ],
)
def test_gender_of_the_body_model_is_the_published_one(gender: Any, model: str) -> None:
    """Bytes count as female whatever they say, as they did when the data was made."""
    motion = read_amass(with_gender(gender))
    assert motion.model_gender == model
    assert motion.gender in str(gender)


class _Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.mkdir, ("/nonexistent/attack",)


def test_pickled_objects_are_not_run() -> None:
    with pytest.raises(SourceProblem, match=r"unreadable: it contains \w+\.mkdir"):
        read_amass(with_gender(np.array(_Attack(), object)))


@pytest.mark.parametrize("key", ["mocap_framerate", "mocap_frame_rate"])
@pytest.mark.parametrize(("fps", "num_frames"), [(120.0, 50), (250.0, 25), (59.0, 150), (20.0, 300), (100, 60)])
def test_every_nth_frame(tmp_path: Path, key: str, fps: float, num_frames: int) -> None:
    """250 frames per second give every twelfth, 59 every second: no resampling."""
    arrays = {k: v for k, v in amass_arrays("BioMotionLab_NTroje").items() if k != "mocap_framerate"}
    motion = read_amass(npz_bytes(arrays | {key: np.array(fps)}))
    model = load_smplh_joints(write_smplh(tmp_path, "female") / "smplh" / "female" / "model.npz")
    joints3d = amass_joints(motion, model)
    assert joints3d.shape == (num_frames, 22, 3)
    few = slice(None, 4 * (int(fps) // 20), int(fps) // 20)
    expected = joints_by_chains("female", arrays["poses"][few], arrays["trans"][few], arrays["betas"][:10])
    np.testing.assert_allclose(joints3d[:4], expected[:, :22][..., [0, 2, 1]], atol=1e-12)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"mocap_framerate": None}, "no frame rate"),
        ({"poses": None}, "not a motion"),
        ({"poses": np.zeros((9, 63))}, "not a motion"),
        ({"trans": np.zeros((9, 3))}, "not a motion"),
        ({"poses": np.zeros((9, 72)), "trans": np.zeros((9, 3))}, "not SMPL+H"),
        ({"poses": np.zeros((9, 165)), "trans": np.zeros((9, 3))}, "not SMPL+H"),
        ({"surface_model_type": np.array("smplx")}, "not SMPL+H"),
        ({"mocap_framerate": np.array(12.0)}, "frame rate below 20"),
        ({"mocap_framerate": np.array(np.nan)}, "frame rate below 20"),
        ({"mocap_framerate": np.array("fast")}, "unreadable"),
    ],
)
def test_broken_files_say_why(change: dict[str, Any], kind: str) -> None:
    arrays = {k: v for k, v in (amass_arrays("KIT") | change).items() if v is not None}
    with pytest.raises(SourceProblem) as caught:
        read_amass(npz_bytes(arrays))
    assert caught.value.kind == kind


def test_damaged_files(tmp_path: Path) -> None:
    whole = npz_bytes(amass_arrays("KIT"))
    path = tmp_path / "a.npz"
    for content in (b"", b"hello", whole[: len(whole) // 2], whole[:1000] + bytes(1000) + whole[2000:]):
        path.write_bytes(content)
        with pytest.raises(SourceProblem, match="unreadable"):
            read_amass(path)
    np.save(tmp_path / "b.npy", np.zeros(3))
    with pytest.raises(SourceProblem, match="unreadable"):
        read_amass(tmp_path / "b.npy")

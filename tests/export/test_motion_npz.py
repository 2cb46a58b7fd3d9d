import re
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.body.skeleton import SMPL22
from hmr4d.export.joints_csv import write_csv
from hmr4d.export.motion_npz import is_motion_file, load_motion_npz, save_motion_npz
from tests.motions import as_motion


def joints(num_frames: int = 5) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(num_frames, 22, 3)).astype(np.float32)


def rewrite(path, **changes) -> None:
    with np.load(path) as archive:
        content = {key: archive[key] for key in archive.files}
    content.update(changes)
    np.savez(path, **{key: value for key, value in content.items() if value is not None})


@pytest.mark.parametrize("as_tensor", [False, True])
def test_round_trip_is_exact(tmp_path, as_tensor):
    array = joints()
    path = tmp_path / "motion.npz"
    given = torch.from_numpy(array).double() if as_tensor else array
    save_motion_npz(path, as_motion(given, fps=29.97, text="läuft </b> 走る", metadata={"seed": 3, "by": ["a"]}))
    motion = load_motion_npz(path)
    np.testing.assert_array_equal(motion.joints3d, array)
    assert motion.joints3d.dtype == torch.float32
    assert (motion.fps, motion.skeleton, motion.text) == (29.97, SMPL22, "läuft </b> 走る")
    assert motion.metadata == {"seed": 3, "by": ["a"]} and motion.provenance.seed == 3
    assert (motion.num_frames, motion.seconds) == (5, pytest.approx(5 / 29.97))


def test_file_reads_without_this_package(tmp_path):
    save_motion_npz(tmp_path / "m.npz", as_motion(joints(), fps=20, text="walk"))
    with np.load(tmp_path / "m.npz", allow_pickle=False) as archive:
        assert sorted(archive.files) == ["fps", "joints3d", "metadata", "skeleton", "text", "version"]
        assert (float(archive["fps"]), str(archive["skeleton"]), str(archive["text"])) == (20.0, "smpl22", "walk")


def test_the_file_name_is_used_unchanged(tmp_path):
    save_motion_npz(tmp_path / "plain", as_motion(joints(), fps=20))
    assert [p.name for p in tmp_path.iterdir()] == ["plain"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.zeros((4, 24, 3)), "24 joints but skeleton 'smpl22' has 22"),
        (np.zeros((22, 3)), r"shape \(22, 3\)"),
        (np.zeros((0, 22, 3)), "no frames"),
        (np.full((4, 22, 3), "x"), "dtype"),
    ],
)
def test_invalid_motion_is_refused(tmp_path, given, expected):
    with pytest.raises(ValueError, match=expected):
        save_motion_npz(tmp_path / "m.npz", as_motion(given, fps=20))
    assert not list(tmp_path.iterdir())


def test_errors_about_values_that_are_not_finite_name_frame_and_joint(tmp_path):
    broken = joints()
    broken[3, 20, 1] = np.nan
    with pytest.raises(ValueError, match=r"frame 3, joint 20 \(left_wrist\)"):
        save_motion_npz(tmp_path / "m.npz", as_motion(broken, fps=20))


@pytest.mark.parametrize("fps", [0, -1, float("nan")])
def test_bad_rate(tmp_path, fps):
    with pytest.raises(ValueError, match="fps"):
        save_motion_npz(tmp_path / "m.npz", as_motion(joints(), fps=fps))


def test_metadata_that_json_cannot_hold(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        save_motion_npz(tmp_path / "m.npz", as_motion(joints(), fps=20, metadata={"a": object()}))
    assert not list(tmp_path.iterdir())


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.npz"):
        load_motion_npz(tmp_path / "none.npz")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 and no more"])
def test_not_an_npz(tmp_path, content):
    path = tmp_path / "m.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not an .npz file"):
        load_motion_npz(path)


def test_plain_npy_is_named_as_such(tmp_path):
    np.save(tmp_path / "m.npy", joints())
    with pytest.raises(ValueError, match="not an .npz file"):
        load_motion_npz(tmp_path / "m.npy")


def test_damaged_file(tmp_path):
    path = tmp_path / "m.npz"
    save_motion_npz(path, as_motion(joints(50), fps=20))
    content = bytearray(path.read_bytes())
    content[200:2000] = bytes(1800)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        load_motion_npz(path)


def test_a_list_in_the_place_of_a_value_is_named(tmp_path):
    save_motion_npz(tmp_path / "m.npz", as_motion(np.zeros((2, 22, 3)), fps=20))
    with np.load(tmp_path / "m.npz") as archive:
        np.savez(tmp_path / "m.npz", **{**archive, "fps": np.array([20.0, 20.0])})
    with pytest.raises(ValueError, match=r"fps has shape \(2,\), expected one value"):
        load_motion_npz(tmp_path / "m.npz")


def test_a_damaged_archive_directory_is_reported(tmp_path):
    path = tmp_path / "m.npz"
    save_motion_npz(path, as_motion(joints(), fps=20))
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at : at + 4] = b"PK\x00\x00"
    path.write_bytes(content)
    assert is_motion_file(path)  # so that its reader says what is wrong
    with pytest.raises(ValueError, match="m.npz is damaged"):
        load_motion_npz(path)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"fps": None, "text": None}, "lacks fps, text"),
        ({"joints3d": np.zeros((4, 24, 3))}, "24 joints"),
        ({"joints3d": np.full((4, 22, 3), np.inf)}, "frame 0, joint 0"),
        ({"joints3d": np.array([{"a": 1}], dtype=object)}, "pickled"),
        ({"skeleton": np.str_("dragon")}, "Unknown skeleton 'dragon'"),
        ({"version": np.int64(99)}, "version 99"),
        ({"metadata": np.str_("{")}, "unreadable"),
        ({"metadata": np.str_("[1]")}, "JSON object"),
        ({"fps": np.float64(0)}, "fps"),
        ({"skeleton": np.str_("a\x1b")}, r"Unknown skeleton 'a\\x1b'"),
    ],
)
def test_wrong_content_is_named(tmp_path, changes, expected):
    path = tmp_path / "m.npz"
    save_motion_npz(path, as_motion(joints(), fps=20))
    rewrite(path, **changes)
    with pytest.raises(ValueError, match=expected):
        load_motion_npz(path)


def test_the_code_of_the_documentation_page_writes_a_motion_file(tmp_path, monkeypatch):
    """Its examples are run: an array, the same without this package, and a CSV file that was exported."""
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "motion_format.md").read_text("utf-8")
    own, plain, from_csv = re.findall(r"```python\n(.*?)```", page.split("## Motions of your own")[1], re.S)[:3]
    names: dict = {}
    exec(own, names)
    first = load_motion_npz("mine.npz")
    exec(plain, names)
    again = load_motion_npz("mine.npz")
    np.testing.assert_array_equal(first.joints3d, again.joints3d)
    assert (first.fps, first.text, first.metadata) == (again.fps, again.text, again.metadata) == (30, first.text, {})
    write_csv("walk.csv", as_motion(joints(), fps=30))
    exec(from_csv, names)
    np.testing.assert_allclose(load_motion_npz("walk.npz").joints3d, joints(), atol=6e-6)
    assert [f"`{name}`" for name in SMPL22.joint_names] == re.findall(r"`[a-z0-9_]+`", page.split("order:")[1])[:22]

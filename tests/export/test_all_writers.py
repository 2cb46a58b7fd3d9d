"""What every writer must bear: bad motions, bad places, single frames, and being killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.export.amass_npz import save_amass_npz
from hmr4d.export.bvh import write_bvh
from hmr4d.export.glb import write_glb
from hmr4d.export.joints_csv import write_csv
from hmr4d.export.motion_npz import load_motion_npz, save_motion_npz
from hmr4d.export.saved_motions import SavedMotions
from hmr4d.motion_files.bvh import BvhClip, read_bvh
from tests.export.gltf_reader import Glb
from tests.export.motions import rest_without, rigid_motion
from tests.motions import as_motion


def _first_of_bvh(clip: BvhClip) -> np.ndarray:
    return clip.forward_kinematics()[0, [clip.joint_names.index(name) for name in SMPL22.joint_names]]


WRITERS: dict[str, Callable[..., Any]] = {
    "bvh": write_bvh,
    "glb": write_glb,
    "amass.npz": save_amass_npz,
    "csv": write_csv,
    "npz": save_motion_npz,
}
READERS: dict[str, Callable[[Path], np.ndarray]] = {  # (22, 3) of the first frame
    "bvh": lambda p: read_bvh(p).forward_kinematics()[
        0, [read_bvh(p).joint_names.index(n) for n in SMPL22.joint_names]
    ],
    "glb": lambda p: Glb(p).joints(0.0),
    "csv": lambda p: np.loadtxt(p, delimiter=",", skiprows=2, ndmin=2)[0, 2:].reshape(22, 3),
    "npz": lambda p: load_motion_npz(p).joints3d[0],
}
ROTATIONS = ("bvh", "glb", "amass.npz")
KILLED_BEFORE_RENAMING = """
import os, signal, sys
from pathlib import Path
import numpy as np
import torch
torch.set_num_threads(1)
from tests.export.motions import rigid_motion
from tests.export.test_all_writers import WRITERS
from tests.motions import as_motion

motion = rigid_motion(20)
for ending, write in WRITERS.items():
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        def wait(self, target):
            os.write(told, b"written")
            signal.pause()
        Path.replace = wait
        write(Path(sys.argv[1]) / f"m.{ending}", as_motion(motion))
        os._exit(0)
    os.close(told)
    assert os.read(ready, 7) == b"written", ending
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@pytest.mark.parametrize("ending", WRITERS)
def test_invalid_motion_is_refused_with_one_sentence_and_no_file_remains(tmp_path: Path, ending: str) -> None:
    broken = rigid_motion(4)
    broken[2, 20] = np.nan
    pair = Skeleton("pair", ("root", "tail"), (-1, 0), ())
    wrongs: list[tuple[dict[str, Any], str]] = [
        ({"joints3d": broken}, r"frame 2, joint 20 \(left_wrist\)"),
        ({"joints3d": np.zeros((0, 22, 3))}, "no frames"),
        ({"joints3d": np.zeros((4, 2, 3))}, "2 joints but skeleton 'smpl22' has 22"),
        ({"fps": float("nan")}, "positive number"),
        ({"metadata": {"a": object()}}, "JSON"),
    ]
    if ending in ROTATIONS:
        wrongs.append(({"joints3d": np.zeros((4, 2, 3)), "skeleton": pair}, "skeleton 'pair' has none"))
        wrongs.append(({"metadata": {"joint_convention": "mars"}}, "known: bandai_namco"))
    for wrong, message in wrongs:
        with pytest.raises(ValueError, match=message):
            WRITERS[ending](tmp_path / f"m.{ending}", as_motion(**{"joints3d": rigid_motion(2), **wrong}))
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", WRITERS)
def test_one_frame_is_a_motion(tmp_path: Path, ending: str) -> None:
    motion = rigid_motion(5)[2:3]
    WRITERS[ending](tmp_path / f"m.{ending}", as_motion(motion, fps=20))
    if ending in READERS:
        np.testing.assert_allclose(READERS[ending](tmp_path / f"m.{ending}"), motion[0], atol=1e-4)
    else:
        assert np.load(tmp_path / f"m.{ending}")["poses"].shape == (1, 156)


@pytest.mark.parametrize("ending", ROTATIONS)
@pytest.mark.parametrize("num_frames", [1, 6])
def test_bones_without_length_are_refused_by_all_rotation_writers(tmp_path: Path, ending: str, num_frames: int) -> None:
    motion = rigid_motion(num_frames, rest=rest_without("left_shoulder", "head", "right_wrist"))
    with pytest.raises(ValueError, match="bones to head, left_shoulder, right_wrist have no length"):
        WRITERS[ending](tmp_path / f"m.{ending}", as_motion(motion, fps=20))
    with pytest.raises(ValueError, match="have no length"):
        WRITERS[ending](tmp_path / f"m.{ending}", as_motion(0 * motion, fps=20))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", WRITERS)
def test_padded_frames_are_written(tmp_path: Path, ending: str) -> None:
    motion = rigid_motion(6)
    motion[3] = 0.0  # padding that was not cut off
    motion[4, 18] = motion[4, 16]
    WRITERS[ending](tmp_path / f"m.{ending}", as_motion(motion, fps=20))
    if ending in READERS:
        np.testing.assert_allclose(READERS[ending](tmp_path / f"m.{ending}"), motion[0], atol=1e-4)
    else:
        assert np.isfinite(np.load(tmp_path / f"m.{ending}")["poses"]).all()


@pytest.mark.parametrize("ending", [*ROTATIONS, "csv"])
@pytest.mark.parametrize("scale", [100, 1000, 0.01])
def test_motion_that_is_not_in_meters_is_refused_and_no_file_remains(tmp_path: Path, ending: str, scale: float) -> None:
    with pytest.raises(ValueError, match=r"The bones measure .* meters in all, .* Give joints in meters\."):
        WRITERS[ending](tmp_path / f"m.{ending}", as_motion(scale * rigid_motion(3), fps=20))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", WRITERS)
def test_unwritable_paths_give_an_error(tmp_path: Path, ending: str) -> None:
    (tmp_path / "file").write_text("in the way")
    places = [tmp_path / "file" / f"m.{ending}"]
    if os.geteuid() != 0:  # to the superuser every folder is open
        (tmp_path / "closed").mkdir(mode=0o500)
        places.append(tmp_path / "closed" / f"m.{ending}")
    for place in places:
        with pytest.raises(OSError):
            WRITERS[ending](place, as_motion(rigid_motion(2), fps=20))
    assert (tmp_path / "file").read_text() == "in the way"
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["file"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are killed as POSIX systems do it")
def test_a_killed_writer_leaves_no_file_under_the_final_name(tmp_path: Path) -> None:
    """Killed without warning when all is written but the name."""
    from hmr4d.reference_motion.motion_sources import (
        gather_motions,  # here: the processes that are killed start faster without it
    )

    subprocess.run([sys.executable, "-c", KILLED_BEFORE_RENAMING, str(tmp_path)], check=True, timeout=120)
    names = [p.name for p in tmp_path.iterdir()]
    assert all(name.startswith(".m.") for name in names), names
    assert all(any(name.endswith(Path(f"m.{ending}").suffix) for name in names) for ending in WRITERS)
    whole = tmp_path / "whole.npz"
    save_motion_npz(whole, as_motion(rigid_motion(2), fps=20))
    assert gather_motions([tmp_path]) == [whole], "what a kill left behind is no motion"
    assert SavedMotions(tmp_path, fps=20, skeleton=SMPL22).files == [whole]

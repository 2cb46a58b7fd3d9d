import csv
import json
from pathlib import Path

import numpy as np
import pytest

from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.export import joints_csv
from hmr4d.export.joints_csv import write_csv
from tests.export.motions import rigid_motion
from tests.motions import as_motion


def test_positions_times_and_metadata_are_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joints_csv, "FRAMES_PER_BLOCK", 4)
    motion = rigid_motion(10)
    text = 'walks, "slowly" # 走'
    write_csv(tmp_path / "m.csv", as_motion(motion, fps=29.97, text=text, metadata={"licence": "CC0"}))
    with (tmp_path / "m.csv").open(encoding="utf-8") as stream:
        facts = json.loads(stream.readline().removeprefix("# "))
        rows = list(csv.DictReader(stream))
    assert (facts["text"], facts["fps"], facts["licence"], facts["skeleton"]) == (text, 29.97, "CC0", "smpl22")
    assert (facts["units"], facts["num_frames"]) == ("metres", 10)
    assert [row["frame"] for row in rows] == [str(n) for n in range(10)]
    np.testing.assert_allclose([float(row["time"]) for row in rows], np.arange(10) / 29.97, atol=1e-6)
    for joint, name in enumerate(SMPL22.joint_names):
        read = [[float(row[f"{name}_{axis}"]) for axis in "xyz"] for row in rows]
        np.testing.assert_allclose(read, motion[:, joint], atol=6e-6)


def test_numpy_reads_the_table_directly(tmp_path: Path) -> None:
    motion = rigid_motion(3)
    write_csv(tmp_path / "m.csv", as_motion(motion, fps=20))
    table = np.genfromtxt(tmp_path / "m.csv", delimiter=",", skip_header=2)
    np.testing.assert_allclose(table[:, 2:].reshape(3, 22, 3), motion, atol=6e-6)


def test_any_skeleton(tmp_path: Path) -> None:
    dog = Skeleton("dog", ("root", "tail"), (-1, 0), ())
    write_csv(tmp_path / "m.csv", as_motion(np.array([[[0, 0, 0], [0, 0, -0.4]]]), fps=20, skeleton=dog))
    lines = (tmp_path / "m.csv").read_text("utf-8").splitlines()
    row = "0,0.000000" + ",0.00000" * 5 + ",-0.40000"
    assert lines[1:] == ["frame,time,root_x,root_y,root_z,tail_x,tail_y,tail_z", row]


def test_motion_that_is_not_finite_is_refused_and_no_file_remains(tmp_path: Path) -> None:
    motion = rigid_motion(3)
    motion[1, 4, 2] = np.inf
    with pytest.raises(ValueError, match=r"frame 1, joint 4 \(left_knee\)"):
        write_csv(tmp_path / "m.csv", as_motion(motion, fps=20))
    assert not list(tmp_path.iterdir())

"""The reader of RICH on made-up files of its layout."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.evaluation.captures.rich import RichCaptures, read_camera_xml
from hmr4d.evaluation.captures.rich_bundle import RichBundle
from hmr4d.evaluation.captures.views import CaptureError
from hmr4d.geometry.rigs import camera_angles, project
from hmr4d.utils.safe_pickle import UnsafePickleError
from tests.data.capture_files import RICH_SEQUENCES, TILTED, StubBody, walker, write_rich

FIRST, SECOND = RICH_SEQUENCES


@pytest.fixture
def rich(tmp_path: Path) -> tuple[Path, StubBody]:
    return tmp_path, write_rich(tmp_path)


def open_rich(root: Path, body: StubBody, **options: object) -> RichCaptures:
    return RichCaptures(root, "test", bodies=body, **options)  # type: ignore[arg-type]


def test_single_people_and_all_their_listed_views(rich: tuple[Path, StubBody]) -> None:
    captures = open_rich(*rich)
    assert list(captures.sequences) == [FIRST, SECOND]  # the sequence of two people is not there
    data = captures.dataset()
    assert [clip.name for clip in data] == [
        f"{FIRST}/cam_00",
        f"{FIRST}/cam_02",
        f"{FIRST}/cam_03",
        f"{SECOND}/cam_01",
        f"{SECOND}/cam_04",
    ]
    assert set(rich[1].genders) == {"male", "female"}
    some = open_rich(*rich, allow={f"{SECOND}/cam_04"})
    assert [clip.name for clip in some.dataset()] == [f"{SECOND}/cam_04"]


@pytest.mark.parametrize("source", ["feet", "multicam2world", "scan"])
def test_the_floor_lies_at_zero(rich: tuple[Path, StubBody], source: str, tmp_path: Path) -> None:
    root, body = rich
    if source == "multicam2world":  # rows: X_world = c X R + t, z up
        to_z_up = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]) @ TILTED[:3, :3].T
        content = {"R": to_z_up.T.tolist(), "t": (-2 * to_z_up @ TILTED[:3, 3]).tolist(), "c": 2.0}
        for capture in ("Pavallion", "LectureHall"):
            path = root / "multicam2world" / f"{capture}_multicam2world.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(content))
    if source == "scan":
        T = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]) @ np.linalg.inv(TILTED)
        keys = ("Pavallion_scan_camcoord", "LectureHall_scan_yoga")
        (tmp_path / "scans.json").write_text(json.dumps(dict.fromkeys(keys, T.tolist())))
    captures = open_rich(root, body, scans=tmp_path / "scans.json" if source == "scan" else None)
    for clip in captures.dataset():
        true = walker(40, seed=RICH_SEQUENCES.index(clip.name.split("/", maxsplit=1)[0]))
        tolerance = 1e-3 if source != "feet" else 5e-2  # two steps say little about a tilt
        np.testing.assert_allclose(clip.joints3d[..., 1], true[..., 1], atol=tolerance)


@pytest.mark.parametrize("prepared", [False, True])
def test_the_floor_is_that_of_all_sequences_of_a_capture(prepared: bool, tmp_path: Path) -> None:
    """One person walks on the floor, and in another sequence one stays on a bench, which is no floor."""
    body, bench = write_rich(tmp_path, num_frames=80), np.array([0.0, 0.45, 0.0])
    on_bench = walker(1, seed=5) + bench + np.array([1.0, 0.0, 0.0])
    body.motions[2] = np.repeat(on_bench, 40, 0) @ TILTED[:3, :3].T + TILTED[:3, 3]
    other, joints = "Pavallion_007_sit", tmp_path / "joints"
    if prepared:
        labels, cameras = write_bundle(tmp_path, body, repeat=False, more={other: 2})
        captures: RichBundle | RichCaptures = RichBundle(labels, cameras, bodies=body)
    else:
        joints.mkdir()
        np.savez(joints / f"{other}.npz", joints24_world=body.motions[2])
        np.savez(joints / f"{FIRST}.npz", joints24_world=body.motions[0])
        meta = tmp_path / "resource" / "meta" / "test.txt"
        meta.write_text(meta.read_text() + f"{other}\tPavallion\tscan_b\t007\tX\tmale\toutdoor\tsit\t7\t2\n")
        captures = RichCaptures(tmp_path, "test", joints=joints, allow={f"{other}/cam_02"})
    clip = captures.dataset()[len(captures.dataset()) - 1]
    assert other in clip.name
    np.testing.assert_allclose(clip.joints3d[0, :, 1], on_bench[0, :, 1], atol=0.1)  # two steps say little about a tilt
    if not prepared:
        (joints / f"{FIRST}.npz").unlink()  # alone it seems to stand on the floor, and the log says what is missing
        alone = RichCaptures(tmp_path, "test", joints=joints, allow={f"{other}/cam_02"}).dataset()[0]
        np.testing.assert_allclose(alone.joints3d[0, :, 1], on_bench[0, :, 1] - 0.45, atol=0.1)


def test_projections_agree_in_world_and_calibration_coordinates(rich: tuple[Path, StubBody]) -> None:
    root, body = rich
    captures = open_rich(root, body)
    for clip in captures.dataset():
        name, camera = clip.name.split("/")
        joints3d = body.motions[RICH_SEQUENCES.index(name)]
        sequence = captures.sequences[name]
        T, K4, _ = read_camera_xml(root / "scan_calibration" / sequence.capture / "calibration" / f"0{camera[-2:]}.xml")
        points = joints3d @ T[:3, :3].T + T[:3, 3]
        pixels = points[..., :2] / points[..., 2:] * K4[:2] + K4[2:]
        np.testing.assert_allclose(clip.kp2d.numpy(), pixels, atol=1e-3)
        assert clip.conf.eq(1).all() and clip.valid.all()
        seen, _ = project(clip.rig, clip.joints3d)
        torch.testing.assert_close(seen[0], clip.kp2d, atol=2e-2, rtol=0)  # float32
        assert camera_angles(clip.rig.T_w2c[0, :3, :3])[2].abs() < 1e-5
        assert clip.views[0] == camera and clip.rig.num_views == len(sequence.views)
        assert clip.rig.size[0].tolist() == ([3008, 4112] if clip.name == f"{FIRST}/cam_03" else [4112, 3008])
        assert (clip.skeleton.name, clip.root_joints, clip.fps) == ("smpl22", (1, 2), 30)


def test_joints_of_a_file_are_used_unchanged(rich: tuple[Path, StubBody], tmp_path: Path) -> None:
    root, body = rich
    joints24 = np.concatenate([body.motions[0], body.motions[0][:, -2:] + 0.05], 1)
    joints24[7] = np.nan
    np.savez(tmp_path / f"{FIRST}.npz", joints24_world=joints24)
    capture = RichCaptures(root, "test", joints=tmp_path).load(FIRST)
    assert capture.skeleton.name == "smpl24" and not capture.valid[7].any() and capture.valid.sum() == 39 * 24
    with pytest.raises(FileNotFoundError, match=SECOND):
        RichCaptures(root, "test", joints=tmp_path).load(SECOND)


def test_a_gap_in_the_frames_is_an_error_or_gives_invalid_frames(rich: tuple[Path, StubBody]) -> None:
    root, body = rich
    folder = root / "bodies" / "test" / FIRST / "00011"
    (folder / "003.pkl").unlink()
    with pytest.raises(FileNotFoundError, match=r"00011.003\.pkl"):
        open_rich(root, body).load(FIRST)
    folder.rmdir()
    with pytest.raises(CaptureError, match="lacks 1 frames, the first is 00011"):
        open_rich(root, body).load(FIRST)
    clip = open_rich(root, body, allow_gaps=True).dataset()[0]
    assert (
        len(clip.kp2d) == 40 and not clip.valid[11].any() and clip.conf[11].sum() == 0 and clip.valid.sum() == 39 * 22
    )


class Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (open, ("somewhere",))


def _meta(root: Path, text: str) -> None:
    (root / "resource" / "meta" / "test.txt").write_text(text)


def _body(root: Path, content: object) -> None:
    (root / "bodies" / "test" / FIRST / "00000" / "003.pkl").write_bytes(pickle.dumps(content))


def _xml(root: Path, old: str, new: str) -> None:
    path = root / "scan_calibration" / "Pavallion" / "calibration" / "000.xml"
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("corrupt", "error", "message"),
    [
        (lambda r: (r / "scan_calibration/Pavallion/calibration/002.xml").unlink(), FileNotFoundError, "002.xml"),
        (lambda r: _xml(r, "</opencv_storage>", ""), CaptureError, "not valid XML"),
        (lambda r: _xml(r, "<Intrinsics", '<!DOCTYPE a [<!ENTITY b "c">]><Intrinsics'), CaptureError, "entities"),
        (lambda r: _xml(r, "Intrinsics", "Intrinsic"), CaptureError, "Intrinsics/data holds 0 numbers; expected 9"),
        (lambda r: _body(r, {"betas": np.zeros((1, 10))}), CaptureError, "no global_orient, body_pose, transl"),
        (lambda r: _body(r, Evil()), UnsafePickleError, "neither an array nor a builtin"),
        (lambda r: _meta(r, "name capture\n"), CaptureError, "expected the columns"),
        (lambda r: _meta(r, "sequence_name capture_name scan_name view_id\nA_1_b C s x\n"), CaptureError, "line 2"),
        (lambda r: (r / "resource/gender.json").unlink(), FileNotFoundError, "gender.json"),
        (lambda r: (r / "resource/gender.json").write_text("[]"), CaptureError, "contains a list"),
        (lambda r: (r / "resource/gender.json").write_text("{}"), CaptureError, "has no entry for subject 3"),
    ],
)
def test_malformed_files_are_named(
    rich: tuple[Path, StubBody], corrupt: Callable[[Path], object], error: type[Exception], message: str
) -> None:
    corrupt(rich[0])
    with pytest.raises(error, match=message):
        open_rich(*rich).load(FIRST)


def test_wrong_units_are_named(rich: tuple[Path, StubBody]) -> None:
    root, body = rich
    body.motions[0] = body.motions[0] * 1000
    with pytest.raises(CaptureError, match="if the unit is metres; expected 0.5 to 10"):
        open_rich(root, body).load(FIRST)


def test_bodies_or_joints_are_required(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="body model or a folder of joints"):
        RichCaptures(tmp_path, "test")
    with pytest.raises(ValueError, match="no split 'tset'"):
        RichCaptures(tmp_path, "tset", joints=tmp_path)


# --- the prepared test set --------------------------------------------------------------------------------------------


def write_bundle(
    folder: Path, body: StubBody, *, repeat: bool = True, more: Mapping[str, int] | None = None
) -> tuple[Path, Path]:
    """Labels of one clip whose first frame is there twice, and its camera; of more sequences by the body's number."""
    frames = [0, *range(40)] if repeat else list(range(40))
    parameters = {
        "betas": torch.zeros(len(frames), 10),
        "global_orient": torch.zeros(len(frames), 3),
        "body_pose": torch.tensor(frames, dtype=torch.float32)[:, None].expand(-1, 63).clone(),
        "transl": torch.zeros(len(frames), 3),
    }
    label = {"frame_id": torch.tensor(frames), "gender": "male", "gt_smplx_params": parameters}
    K = torch.tensor([[3000.0, 0, 1500], [0, 3010, 2056], [0, 0, 1]])
    T, _, _ = read_camera_xml(folder / "scan_calibration" / "Pavallion" / "calibration" / "003.xml")
    found = {f"test/{FIRST}/cam_03": label}
    for name, number in (more or {}).items():
        own = parameters | {"betas": torch.full((len(frames), 10), float(number))}
        found[f"test/{name}/cam_03"] = label | {"gt_smplx_params": own}
    torch.save(found, folder / "labels.pt")
    torch.save({"Pavallion_4": (torch.from_numpy(T), K)}, folder / "wrong.pt")
    torch.save({"Pavallion_3": (torch.from_numpy(T), K)}, folder / "cameras.pt")
    return folder / "labels.pt", folder / "cameras.pt"


def test_the_prepared_set_gives_the_same_images(rich: tuple[Path, StubBody]) -> None:
    root, body = rich
    labels, cameras = write_bundle(root, body)
    with pytest.raises(CaptureError, match="no camera for test/Pavallion_003_plankjack"):
        RichBundle(labels, root / "wrong.pt", bodies=body)
    assert len(RichBundle(labels, cameras, bodies=body).dataset()[0].kp2d) == 41
    clip = RichBundle(labels, cameras, bodies=body, dedup=True).dataset()[0]
    other = next(c for c in open_rich(root, body).dataset() if c.name == f"{FIRST}/cam_03")
    torch.testing.assert_close(clip.kp2d, other.kp2d, atol=1e-2, rtol=0)
    assert clip.rig.size.tolist() == [[3008, 4112]] and clip.name == f"test/{FIRST}/cam_03"
    torch.testing.assert_close(clip.joints3d, other.joints3d, atol=1e-4, rtol=0)


def test_a_prepared_set_with_code_in_it_is_refused(rich: tuple[Path, StubBody]) -> None:
    root, body = rich
    labels, cameras = write_bundle(root, body)
    labels.write_bytes(pickle.dumps({"test": Evil()}))
    with pytest.raises(UnsafePickleError):
        RichBundle(labels, cameras, bodies=body)

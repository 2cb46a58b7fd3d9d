"""Keypoint files: the same track from every layout, who is who, and one sentence for everything that is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmr4d.body.skeleton import COCO17, get_skeleton
from hmr4d.keypoint_files.reading import FORMATS, KeypointTrack, read_keypoints
from tests.data.keypoint_layouts import (
    LAYOUTS,
    People,
    figure,
    walk,
    write_coco,
    write_mmpose_list,
    write_npy,
    write_openpose,
)

SINGLE = ("npz", "npy")  # layouts of one person


def one(*args: Any, **options: Any) -> KeypointTrack:
    track = read_keypoints(*args, **options)
    assert isinstance(track, KeypointTrack)
    return track


def written(folder: Path, content: Any, name: str = "keypoints.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("layout", "num_joints"), [(name, n) for name in LAYOUTS for n in (17, 26) if (name, n) != ("openpose", 17)]
)
def test_every_layout_gives_the_same_arrays(tmp_path: Path, layout: str, num_joints: int) -> None:
    points = walk(num_joints=num_joints)
    points[4] = points[7] = 0  # frames without the person
    points[2, 5] = 0  # a joint that was not found
    path = LAYOUTS[layout](tmp_path, {"3": points})
    skeleton = "coco17" if num_joints == 17 else "halpe26"
    for name in ("auto", layout.split(maxsplit=1)[0].replace("npy", "npz")):
        track = one(path, name, skeleton=skeleton if num_joints == 17 else None)
        np.testing.assert_array_equal(track.kp2d, points[..., :2].astype(np.float32))
        np.testing.assert_array_equal(track.kp2d_conf, points[..., 2].astype(np.float32))
        assert track.kp2d.dtype == track.kp2d_conf.dtype == np.float32
        np.testing.assert_array_equal(track.frame_ids, np.arange(12))
        assert (track.skeleton.name, track.num_frames, track.num_seen) == (skeleton, 12, 10)
        assert track.person == ("0" if layout == "npy" else "3")


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in SINGLE])
def test_people_are_distinguished_by_their_ids(tmp_path: Path, layout: str) -> None:
    first, second = walk(num_joints=26), walk(num_joints=26, seed=1, left=340.0)  # boxes overlap
    first[:5], second[9:] = 0, 0
    path = LAYOUTS[layout](tmp_path, {"7": first, "2": second})
    np.testing.assert_array_equal(one(path).kp2d, second[:9, :, :2].astype(np.float32))
    assert one(path).person == "2"
    for person in ("7", 7):
        track = one(path, person=person)
        np.testing.assert_array_equal(track.kp2d, first[5:, :, :2].astype(np.float32))
        np.testing.assert_array_equal(track.frame_ids, np.arange(5, 12))
    tracks = read_keypoints(path, person="all")
    assert isinstance(tracks, list) and [t.person for t in tracks] == ["2", "7"]
    with pytest.raises(ValueError, match=r"no person 'Anna', only 2 \(9 frames\), 7 \(7 frames\)"):
        read_keypoints(path, person="Anna")


@pytest.mark.parametrize("gap", [0, 3])
def test_people_without_ids_are_followed(tmp_path: Path, gap: int) -> None:
    left, right = walk(30, 26, left=100.0), walk(30, 26, seed=1, left=900.0)
    right[..., 0] -= np.round(10.0 * np.arange(30)[:, None], 2)  # towards each other; they do not meet
    left[10 : 10 + gap] = 0
    frames: list[list[dict[str, Any]]] = []
    for frame in range(30):  # listed by their place, then by their opposite place: order tells nothing
        people = [p[frame] for p in (left, right) if p[frame].any()]
        people = people[::-1] if frame % 2 else people
        frames.append([{"keypoints": p[:, :2].tolist(), "keypoint_scores": p[:, 2].tolist()} for p in people])
    tracks = read_keypoints(written(tmp_path, frames), person="all")
    assert isinstance(tracks, list) and len(tracks) == 2
    tracks.sort(key=lambda track: track.kp2d[0, 0, 0])
    np.testing.assert_array_equal(tracks[0].kp2d, left[..., :2].astype(np.float32))
    np.testing.assert_array_equal(tracks[1].kp2d, right[..., :2].astype(np.float32))


def test_someone_who_jumps_across_the_image_is_someone_else(tmp_path: Path) -> None:
    points = walk(20, 26)
    points[10:, :, 0] += 1500
    frames = [[{"keypoints": p[:, :2].tolist()}] for p in points]
    assert one(written(tmp_path, frames)).num_seen == 20  # nobody else is ever there: it is a cut or a fast move
    stranger = walk(20, 26, seed=1, left=800.0)
    frames = [[*f, {"keypoints": p[:, :2].tolist()}] for f, p in zip(frames, stranger, strict=True)]
    tracks = read_keypoints(written(tmp_path, frames), person="all")
    assert isinstance(tracks, list) and [t.num_seen for t in tracks] == [20, 10, 10]


def test_empty_frames_at_both_ends_are_skipped_and_numbers_kept(tmp_path: Path) -> None:
    points = walk(12, 25)
    points[:3], points[10:] = 0, 0
    track = one(write_openpose(tmp_path, {"0": points}))
    np.testing.assert_array_equal(track.frame_ids, np.arange(3, 10))
    assert track.skeleton.name == "openpose25"


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0)])
def test_normalized_coordinates_become_pixels(tmp_path: Path, low: float, high: float) -> None:
    points = walk(12, 25)
    points[3, 4] = 0
    scaled = points.copy()
    found = points[..., 2] > 0
    scaled[found, :2] = low + (high - low) * points[found, :2] / (1279, 719)
    path = write_openpose(tmp_path, {"0": scaled})
    track = one(path, size=(1280, 720))
    np.testing.assert_allclose(track.kp2d, points[..., :2], atol=1e-4)
    assert not track.kp2d[3, 4].any() and track.kp2d_conf[3, 4] == 0
    with pytest.raises(ValueError, match="normalized, not pixels"):
        read_keypoints(path)


def test_confidences_are_clipped_and_what_is_not_a_number_is_missing(tmp_path: Path) -> None:
    points = walk(6, 22)
    points[0, 0, 2], points[0, 1, 2], points[0, 2, 2] = 5.5, -0.1, np.nan
    points[1, 3, 0] = np.inf
    track = one(write_npy(tmp_path, {"0": points}))
    assert track.skeleton.name == "smpl22"
    assert np.isfinite(track.kp2d).all()
    np.testing.assert_array_equal(track.kp2d_conf[0, :3], [1, 0, 0])  # others of the entry tell theirs
    assert track.kp2d_conf[1, 3] == 0 and not track.kp2d[1, 3].any() and not track.kp2d[0, 1].any()
    bare = one(write_npy(tmp_path, {"0": points[..., :2]}))
    assert bare.kp2d_conf[1, 3] == 0 and bare.kp2d_conf.sum() == 6 * 22 - 1


def test_seventeen_joints_without_a_name_need_a_choice(tmp_path: Path) -> None:
    for path in (write_npy(tmp_path, {"0": walk()}), write_mmpose_list(tmp_path, {"0": walk()})):
        with pytest.raises(ValueError, match="COCO or Human3.6M"):
            read_keypoints(path)
        for name in ("coco17", "h36m17"):
            assert one(path, skeleton=name).skeleton.name == name
    assert one(write_coco(tmp_path, {"0": walk()})).skeleton.name == "coco17"
    assert one(write_mmpose_list(tmp_path, {"0": walk()}), "vitpose").skeleton.name == "coco17"
    content = {
        "meta_info": {"dataset_name": "h36m"},
        "instance_info": [{"instances": [{"keypoints": walk(1)[0, :, :2].tolist()}]}],
    }
    assert one(written(tmp_path, content)).skeleton.name == "h36m17"


def test_npz_files_contain_skeleton_rate_and_frames(tmp_path: Path) -> None:
    points = walk(3)
    frames = [5, 6, 9]
    np.savez(tmp_path / "a.npz", keypoints=points, skeleton="h36m17", fps=25.0, frame_ids=frames)
    track = one(tmp_path / "a.npz")
    assert (track.skeleton.name, track.fps, track.num_frames, track.num_seen) == ("h36m17", 25.0, 5, 3)
    np.testing.assert_array_equal(track.kp2d[[0, 1, 4]], points[..., :2].astype(np.float32))


@pytest.mark.parametrize(("num_joints", "skeleton", "kept"), [(133, "wholebody23", 23), (136, "halpe26", 26)])
def test_whole_body_sets_give_body_and_feet(tmp_path: Path, num_joints: int, skeleton: str, kept: int) -> None:
    points = walk(4, num_joints)
    track = one(write_coco(tmp_path, {"0": points}))
    assert track.skeleton.name == skeleton
    np.testing.assert_array_equal(track.kp2d, points[:, :kept, :2].astype(np.float32))
    assert one(write_coco(tmp_path, {"0": points}), skeleton="coco17").kp2d.shape == (4, 17, 2)


BODY_AND_FEET = [
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "neck",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
    "left_big toe",
    "left_small_toe",
    "left_heel",
    "right_big_toe",
    "right_small_toe",
    "right_heel",
]


def test_joints_that_a_file_names_are_put_in_order(tmp_path: Path) -> None:
    """25 joints that begin as COCO's do are no OpenPose order; wrappers of ViTPose name them."""
    points = walk(4, 25)
    content = {
        "keypoints": [{"1": p[:, [1, 0, 2]].tolist()} for p in points],
        "skeleton": {str(i): name for i, name in enumerate(BODY_AND_FEET)},
    }
    track = one(written(tmp_path, content))
    assert track.skeleton.name == "openpose25"
    for joint, name in (("pelvis", "hip"), ("left_big_toe", "left_big toe"), ("right_wrist", "right_wrist")):
        expected = points[:, BODY_AND_FEET.index(name), :2].astype(np.float32)
        np.testing.assert_array_equal(track.kp2d[:, track.skeleton.index(joint)], expected)
    names = list(get_skeleton("coco17").joint_names)[::-1]
    coco = json.loads(write_coco(tmp_path, {"0": points[:, :17]}).read_text())
    frames = [{"instances": [{"keypoints": p[:17, :2].tolist()}]} for p in points]
    for content in (
        {"annotations": coco, "categories": [{"name": "person", "keypoints": names}]},
        {"meta_info": {"keypoint_id2name": dict(enumerate(names))}, "instance_info": frames},
    ):
        track = one(written(tmp_path, content), skeleton="coco17")
        np.testing.assert_array_equal(track.kp2d[:, ::-1], points[:, :17, :2].astype(np.float32))


def test_names_that_are_not_known_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [*BODY_AND_FEET[:24], "tail"]
    points = walk(1, 25)
    content = {"keypoints": [{"1": points[0, :, [1, 0, 2]].T.tolist()}], "skeleton": dict(enumerate(names))}
    track = one(written(tmp_path, content))
    assert "1 joints are not used: tail" in caplog.text and track.skeleton.name == "openpose25"
    assert track.kp2d_conf[0, track.skeleton.index("right_heel")] == 0
    content["skeleton"] = dict(enumerate([f"thing {i}" for i in range(21)] + BODY_AND_FEET[6:8] + BODY_AND_FEET[12:14]))
    with pytest.raises(ValueError, match="few of them are known"):
        read_keypoints(written(tmp_path, content))


def test_of_two_entries_the_one_nearest_to_the_one_before_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    points = figure(COCO17.joint_names)
    entries = json.loads(write_coco(tmp_path, {"1": points}).read_text())
    surer = figure(COCO17.joint_names, left=900.0)[5]
    surer[:, 2] = 1
    track = one(written(tmp_path, [*entries, {"image_id": 5, "track_id": 1, "keypoints": surer.ravel().tolist()}]))
    np.testing.assert_array_equal(track.kp2d, points[..., :2].astype(np.float32))
    assert "Person 1 occurs twice in 1 frames" in caplog.text


@pytest.mark.parametrize(("step", "words"), [(2, "2nd"), (3, "3rd"), (5, "5th"), (11, "11th"), (21, "21st")])
def test_a_stride_with_a_missing_frame_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, step: int, words: str
) -> None:
    entries = json.loads(write_coco(tmp_path, {"1": figure(COCO17.joint_names)}).read_text())
    strided = [{**entry, "image_id": step * entry["image_id"]} for entry in entries if entry["image_id"] != 4]
    track = one(written(tmp_path, strided))
    assert (track.num_frames, track.num_seen) == (11 * step + 1, 11) and f"every {words} frame" in caplog.text


PLACES = np.round(np.random.default_rng(0).uniform(5, 300, (26, 3)), 1)
PLACES[:, 2] = 0.7
GOOD = {"image_id": 3, "category_id": 1, "keypoints": PLACES[:17].ravel().tolist(), "score": 1.0}
WRONG: dict[str, tuple[Any, str]] = {
    "no json": ("{", "not a JSON"),
    "empty file": ("", "the file is empty"),
    "nothing": ([], "none of the known layouts"),
    "another object": ({"poses": []}, "none of the known layouts"),
    "short": ([{**GOOD, "keypoints": [1.0, 2.0]}], "no multiple of 3"),
    "words": ([{**GOOD, "keypoints": ["a", "b", "c"]}], "no table of numbers"),
    "mixed": ([GOOD, {**GOOD, "keypoints": PLACES.ravel().tolist()}], "17 and 26 joints"),
    "unknown count": ([{**GOOD, "keypoints": PLACES[:15].ravel().tolist()}], "15 joints; known are 17"),
    "no frame": ([GOOD, {"keypoints": GOOD["keypoints"]}], "entry 1 has no frame"),
    "no number": ([{**GOOD, "image_id": "holiday.jpg"}], "no frame number"),
    "fraction": ([{**GOOD, "image_id": 1.5}], "not a frame number"),
    "two videos": ([{**GOOD, "image_id": n} for n in ("a/01.jpg", "b/01.jpg")], "both be frame 1"),
    "no video": ([{**GOOD, "image_id": n} for n in (139, 397133)], "frame numbers of one video"),
    "never sure": ([{**GOOD, "keypoints": [5.0, 6.0, 0.0] * 17}], "confidence above 0"),
    "no body": ({"people": [{"face_keypoints_2d": [1.0, 2.0, 3.0]}]}, "no 'pose_keypoints_2d'"),
    "no list of numbers": ({"people": [{"pose_keypoints_2d": 3.5}]}, "has shape"),
    "nobody": ({"people": []}, "nobody was detected"),
    "mmpose frame": ({"instance_info": [{"frame_id": 0, "instances": None}]}, "nobody was detected"),
    "mmpose scores": ([[{"keypoints": [[1, 2]] * 17, "keypoint_scores": [1] * 16}]], "17 joints and 16 confidences"),
    "mmpose shape": ([[{"keypoints": [1, 2, 3]}]], "entries have 1 joints"),
    "vitpose": ({"keypoints": [{}, {"1": 5}]}, "person 1 of frame 1 has shape"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_are_named_in_one_sentence(tmp_path: Path, case: str) -> None:
    content, words = WRONG[case]
    path = written(tmp_path, content)
    with pytest.raises(ValueError, match=words) as caught:
        read_keypoints(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def _other_format(folder: Path) -> tuple[Path, str]:
    return written(folder, [GOOD]), "mmpose"


def _folder_as_file(folder: Path) -> tuple[Path, str]:
    return folder, "coco"


def _array_as_json(folder: Path) -> tuple[Path, str]:
    return write_npy(folder, {"0": walk()}), "coco"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_other_format, "content is coco, not mmpose"),
        (_folder_as_file, "it is a folder"),
        (_array_as_json, "file of arrays"),
    ],
)
def test_a_wrong_format_is_named(tmp_path: Path, make: Callable[[Path], tuple[Path, str]], words: str) -> None:
    path, name = make(tmp_path)
    with pytest.raises(ValueError, match=words):
        read_keypoints(path, name)


def test_other_mistakes(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="docs/lift.md"):
        read_keypoints(tmp_path / "none.json")
    with pytest.raises(ValueError, match="Unknown keypoint format 'xml'; known: " + ", ".join(FORMATS)):
        read_keypoints(tmp_path, "xml")
    with pytest.raises(ValueError, match="contains no .json"):
        read_keypoints(tmp_path)
    with pytest.raises(ValueError, match="not read"):
        read_keypoints(written(tmp_path, "x", "k.pkl"))
    with pytest.raises(ValueError, match="no NumPy file"):
        read_keypoints(written(tmp_path, "x", "k.npz"))
    np.save(tmp_path / "objects.npy", np.array([None, {}]), allow_pickle=True)
    with pytest.raises(ValueError, match="no NumPy file of plain arrays"):
        read_keypoints(tmp_path / "objects.npy")
    np.save(tmp_path / "flat.npy", np.zeros((4, 35)))
    with pytest.raises(ValueError, match=r"shape \(4, 35\)"):
        read_keypoints(tmp_path / "flat.npy")
    with pytest.raises(ValueError, match="has 22"):
        read_keypoints(write_npy(tmp_path, {"0": walk(3, 26)}), skeleton="smpl22")
    place = write_openpose(tmp_path, {"0": walk(3, 25)})
    written(place, {"people": []}, "other_000000000001_keypoints.json")
    with pytest.raises(ValueError, match="several videos"):
        read_keypoints(place)


def test_one_openpose_file_is_one_frame_and_old_names_are_known(tmp_path: Path) -> None:
    people: People = {"0": walk(1, 18)}
    content = {"version": 0.1, "people": [{"pose_keypoints": people["0"].ravel().tolist()}]}
    track = one(written(tmp_path, content))
    assert track.skeleton.name == "openpose18" and track.num_frames == 1
    np.testing.assert_array_equal(track.kp2d, people["0"][..., :2].astype(np.float32))

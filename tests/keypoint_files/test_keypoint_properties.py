"""Keypoint readers: whoever is drawn is read back from every layout; garbage gives one sentence that names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hmr4d.body.skeleton import COCO17, OPENPOSE25
from hmr4d.keypoint_files.reading import FORMATS, KeypointTrack, read_keypoints
from tests.data.keypoint_layouts import LAYOUTS, figure
from tests.strategies import seeds


@st.composite
def people(draw: st.DrawFn, joint_names: tuple[str, ...]) -> NDArray[np.float64]:
    """(L, J, 3) somebody of any size anywhere, with missing joints and, between others, missing frames."""
    num_frames = draw(st.integers(3, 8))
    points = figure(joint_names, num_frames, left=draw(st.floats(0, 1500)), seed=draw(seeds()))
    points[..., :2] = np.round(points[..., :2] * draw(st.floats(0.3, 3.0)), 2)
    for joint in draw(st.sets(st.integers(0, len(joint_names) - 1), max_size=4)):
        points[draw(st.integers(0, num_frames - 1)), joint] = 0.0
    for frame in draw(st.sets(st.integers(1, num_frames - 2), max_size=2)):
        points[frame] = 0.0
    return points


@pytest.mark.parametrize("layout", LAYOUTS)
@given(data=st.data())
def test_whoever_is_drawn_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, layout: str, data: st.DataObject
) -> None:
    skeleton = OPENPOSE25 if layout == "openpose" else COCO17
    points = data.draw(people(skeleton.joint_names))
    path = LAYOUTS[layout](tmp_path_factory.mktemp("drawn"), {"3": points})
    for asked in (None, skeleton.name):
        track = read_keypoints(path, skeleton=asked)
        assert isinstance(track, KeypointTrack)
        assert track.skeleton == skeleton
        np.testing.assert_array_equal(track.kp2d, points[..., :2].astype(np.float32))
        np.testing.assert_array_equal(track.kp2d_conf, points[..., 2].astype(np.float32))
        np.testing.assert_array_equal(track.frame_ids, np.arange(len(points)))


def assert_read_or_refused(path: Path, format: str) -> None:
    """A track of finite numbers, or a ValueError of one line that begins with the file."""
    try:
        tracks = read_keypoints(path, format, person="all", size=(1280, 720))
    except ValueError as error:
        assert type(error) is ValueError, f"{type(error).__name__}: {error}"
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
        return
    assert isinstance(tracks, list) and tracks
    assert all(np.isfinite(t.kp2d).all() and np.isfinite(t.kp2d_conf).all() for t in tracks)


KEYS = st.sampled_from(
    [
        "keypoints",
        "keypoint_scores",
        "instance_info",
        "instances",
        "frame_id",
        "image_id",
        "track_id",
        "annotations",
        "images",
        "people",
        "pose_keypoints_2d",
        "person_id",
        "bbox",
        "score",
        "meta_info",
        "x",
        "y",
        "visible",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.floats(0, 900),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=40,
)


@given(content=JSON, format=st.sampled_from(FORMATS))
@example(content={"keypoints": [1, 2, 3], "frame_id": False}, format="auto")
def test_json_of_any_content_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: Any, format: str
) -> None:
    path = tmp_path_factory.mktemp("json") / "k.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert_read_or_refused(path, format)


BYTES = st.binary(max_size=60) | st.binary(max_size=40).map(lambda content: b"\x93NUMPY\x01\x00" + content)
NAMES = st.sampled_from(["k.json", "k.npz", "k.npy", "k.csv", "k.h5", "k"])


@given(content=BYTES, name=NAMES, format=st.sampled_from(FORMATS))
def test_bytes_of_any_kind_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str, format: str
) -> None:
    path = tmp_path_factory.mktemp("bytes") / name
    path.write_bytes(content)
    assert_read_or_refused(path, format)


@given(data=st.data(), shape=st.lists(st.integers(0, 4) | st.sampled_from([17, 25]), max_size=4))
def test_arrays_of_any_shape_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, shape: list[int]
) -> None:
    rng = np.random.default_rng(data.draw(seeds()))
    array = rng.normal(300, 200, shape).astype(data.draw(st.sampled_from(["f4", "f8", "i4", "c8", "U3", "?"])))
    path = tmp_path_factory.mktemp("arrays") / "k.npz"
    arrays: dict[str, Any] = {data.draw(st.sampled_from(["kp2d", "keypoints", "data"])): array}
    np.savez(path, **arrays)
    assert_read_or_refused(path, "auto")

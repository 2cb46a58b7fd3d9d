"""Encoding, decoding and statistics of the 2D feature; motion in the root frame; placement."""

from __future__ import annotations

import numpy as np
import torch

from hmr4d.geometry.cameras import invert_rigid
from hmr4d.motion.canonical import align_to_floor, face_first_frame, facing_transform, repeat_last_valid
from hmr4d.representation.motion2d import STATISTICS_FOLDER, Motion2DCodec, Statistics
from hmr4d.representation.root_velocity import from_root_velocity
from tests.golden.vectors import assert_close, features, numbered, read_json, tensors

OTHER_SKELETONS = {"NBA", "GYM"}  # 7 and 8 points; the method never uses them


def test_encode_and_decode() -> None:
    data = tensors("endecoder.npz")
    names = [key.removesuffix("_mean") for key in data if key.endswith("_mean")]
    assert names
    for name in names:
        codec = Motion2DCodec(name.lower())
        assert_close(f"codec {name} mean", codec.mean, data[f"{name}_mean"])
        assert_close(f"codec {name} std", codec.std, data[f"{name}_std"])
        assert_close(f"codec {name} encode", codec.encode(data[f"{name}_motion"]), features(data[f"{name}_x"]))
        assert_close(f"codec {name} decode", codec.decode(features(data[f"{name}_x"])), data[f"{name}_dec"])
        several = codec.encode(data[f"{name}_motion_mv"])
        assert_close(f"codec {name} encode, several views", several, features(data[f"{name}_x_mv"]))


def test_packaged_statistics_are_the_published_ones() -> None:
    published = read_json("motion2to3_statistics_2d.json")
    packaged = {path.stem for path in STATISTICS_FOLDER.glob("*.npz")}
    for name, values in published.items():
        if name in OTHER_SKELETONS:
            continue
        assert name.lower() in packaged
        statistics = Statistics.load(name.lower())
        for part in ("mean", "std"):
            assert np.array_equal(getattr(statistics, part), np.array(values[part], dtype=np.float32)), (name, part)


def test_facing_transform() -> None:
    data = tensors("transforms.npz")
    T = facing_transform(data["joints"][:, 0])
    assert_close("facing transform", T, data["T_ay2ayfz"])
    assert_close("facing transform, inverse", invert_rigid(T), data["T_ayfz2ay"])
    assert_close("faced joints", face_first_frame(data["joints"]), data["joints_ayfz"])


def test_trajectory_from_next_root() -> None:
    data = tensors("transforms.npz")
    assert_close("next root to global", from_root_velocity(data["local23"]), data["global22"])


def test_what_the_metric_receives() -> None:
    """Faced, tail repeated, on the floor. The 263-d vectors of the file belong to the evaluation."""
    data = tensors("metric_feed.npz")
    for ours, saved in (("pred_global_motion", "saved_pred"), ("gt_motion", "saved_gt")):
        placed = align_to_floor(repeat_last_valid(face_first_frame(data[ours]), data["length"]))
        assert_close(f"metric feed {saved}", placed, data[saved])


def test_what_the_published_dumper_writes() -> None:
    """The published floor is the lowest point of all frames, also of those beyond a clip's length."""
    data = tensors("dumper.npz")
    faced = face_first_frame(data["pred_global_motion"])
    floor = faced[..., 1].amin((1, 2))
    filled = repeat_last_valid(faced, data["length"])
    for number in numbered(data, r"(\d+)/pred"):
        expected = filled[number] - torch.tensor([0.0, 1.0, 0.0]) * floor[number]
        assert_close("dumper joints", expected, data[f"{number}/pred"])
        assert int(data[f"{number}/length"]) == int(data["length"][number])

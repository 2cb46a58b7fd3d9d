"""2D motion from video: layout, rules, confidences and mixing, on a tiny file of the true layout."""

import json
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.camera.orbit_rigs import SingleCamera
from hmr4d.data.batching import collate
from hmr4d.data.clip_index import IndexRules
from hmr4d.data.datasets import Framing, MotionViews
from hmr4d.data.importers.synthetic import import_synthetic
from hmr4d.data.store import write_text_cache
from hmr4d.data.video2d import VideoMotion2D, VideoRules, mix_sources, sentences
from hmr4d.nn.text import HashTextEncoder, encode_numpy
from hmr4d.utils.safe_pickle import UnsafePickleError

ONE_TEXT = "A man walks. He waves."


def clip_entry(num_frames: int, *, seed: int = 0, video_path: str = "videos/a.mp4", extra_frames: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    root = np.cumsum(rng.normal(size=(num_frames + extra_frames, 1, 2)), 0) + 300.0
    return {
        "length": num_frames,
        "bboxs": np.tile(np.array([100.0, 50.0, 400.0, 500.0], dtype=np.float32), (num_frames, 1)),
        "incam_joints": (root + rng.normal(size=(num_frames + extra_frames, 22, 2)) * 40).astype(np.float32),
        "pred_scores": rng.uniform(0.8, 1.0, size=(num_frames, 22)).astype(np.float32),
        "name": "a",
        "video_path": video_path,
    }


def write_set(folder: Path, clips: dict, captions: dict, second: dict | None = None, name: str = "m.pth") -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(clips, folder / name)
    (folder / "captions.json").write_text(json.dumps(captions))
    if second is None:
        return [folder / name, folder / "captions.json"]
    (folder / "captions2.json").write_text(json.dumps(second))
    return [folder / name, folder / "captions.json", folder / "captions2.json"]


@pytest.fixture
def one_clip(tmp_path: Path) -> list[Path]:
    return write_set(tmp_path, {"a": clip_entry(40, extra_frames=3)}, {"a": ONE_TEXT})


def test_item_has_the_published_numbers(one_clip: list[Path]) -> None:
    entry = clip_entry(40, extra_frames=3)
    item = VideoMotion2D(*one_clip)[0]
    joints2d = entry["incam_joints"][:40].astype(np.float64)
    root = joints2d[:, :1]
    following = np.concatenate([root[1:], root[-1:]])
    points = np.concatenate([joints2d, following], 1) - root
    half_extent = np.abs(points).max((1, 2), keepdims=True)  # per frame: the camera may move
    np.testing.assert_allclose(item["joints2d"][0], (points / (1.2 * half_extent))[:, 1:], atol=1e-5)
    scores = entry["pred_scores"]
    np.testing.assert_allclose(item["conf"][:, :21], scores[:, 1:])
    np.testing.assert_allclose(item["conf"][:, 21], np.append(scores[1:, 0], scores[-1, 0]))
    assert item["length"] == 40
    assert item["is_perspective"] is True
    assert not item["joints3d"].any() and not item["cam"].any() and not item["elevation_cam"].any()


def test_still_camera_has_one_box(tmp_path: Path) -> None:
    files = write_set(tmp_path, {"a": clip_entry(40, video_path="music/a.mp4")}, {"a": ONE_TEXT})
    points = VideoMotion2D(*files)[0]["joints2d"]
    assert float(points.abs().max()) == pytest.approx(1 / 1.2)
    assert float(points[0, 0].abs().max()) < 1 / 1.2 or float(points[0, 1].abs().max()) < 1 / 1.2


def test_mostly_low_joint_counts_nowhere(tmp_path: Path) -> None:
    entry = clip_entry(40)
    entry["pred_scores"][:21, 5] = 0.3  # low in 21 of 40 frames
    entry["pred_scores"][:20, 6] = 0.3  # low in half of them
    item = VideoMotion2D(*write_set(tmp_path, {"a": entry}, {"a": ONE_TEXT}))[0]
    assert not item["conf"][:, 4].any()
    assert (item["conf"][20:, 5] > 0.65).all() and (item["conf"][:20, 5] == pytest.approx(0.3))


def test_slow_file_is_interpolated_with_its_confidences(tmp_path: Path) -> None:
    files = write_set(tmp_path, {"a": clip_entry(40)}, {"a": ONE_TEXT}, name="clips_15fps.pth")
    dataset = VideoMotion2D(*files)
    item = dataset[0]
    assert dataset.num_frames(0) == item["length"] == len(item["conf"]) == 80


def test_long_clip_gives_a_window(tmp_path: Path) -> None:
    dataset = VideoMotion2D(*write_set(tmp_path, {"a": clip_entry(350)}, {"a": ONE_TEXT}))
    first, again, other = dataset[0, 1], dataset[0, 1], dataset[0, 2]
    assert first["length"] == 300
    assert torch.equal(first["joints2d"], again["joints2d"])
    assert not torch.equal(first["joints2d"], other["joints2d"])


def test_skipped_clips_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = clip_entry(40)
    broken["incam_joints"][3, 4] = np.nan
    clips = {"short": clip_entry(29), "mute": clip_entry(40), "broken": broken, "good": clip_entry(40)}
    files = write_set(tmp_path, clips, dict.fromkeys(("short", "broken", "good"), ONE_TEXT))
    with caplog.at_level(logging.INFO):
        assert len(VideoMotion2D(*files)) == 1
    for reason in ("1 too short", "1 without caption", "1 not finite"):
        assert reason in caplog.text


def test_repeats_list_a_clip_several_times(tmp_path: Path) -> None:
    clips = {"a": clip_entry(40, video_path="x/Climbing/1.mp4"), "soccer_2": clip_entry(40), "b": clip_entry(40)}
    files = write_set(tmp_path, clips, dict.fromkeys(clips, ONE_TEXT))
    assert len(VideoMotion2D(*files)) == 3 + 2 + 1
    assert len(VideoMotion2D(*files, rules=VideoRules(repeats={}))) == 3


def test_captions_are_drawn_as_published(tmp_path: Path) -> None:
    assert sentences(ONE_TEXT) == ["A man walks.", "He waves."]
    assert sentences("A man walks. He waves. And") == ["A man walks.", "He waves."]
    assert sentences("A man walks.") == []
    path, text, text2 = write_set(tmp_path, {"a": clip_entry(40)}, {"a": ONE_TEXT}, {"a": "Someone strolls."})
    dataset = VideoMotion2D(path, text, text_path2=text2)
    drawn = [dataset[0, seed]["text"] for seed in range(400)]
    share = {text: drawn.count(text) / len(drawn) for text in set(drawn)}
    assert share.keys() == {"Someone strolls.", ONE_TEXT, "A man walks.", "He waves."}
    assert share["Someone strolls."] == pytest.approx(0.7, abs=0.07)
    assert share[ONE_TEXT] == pytest.approx(0.15, abs=0.06)


def test_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"m\.pth.*c\.json"):
        VideoMotion2D(tmp_path / "m.pth", tmp_path / "c.json")
    entry = clip_entry(40) | {"pred_scores": np.ones((40, 17), np.float32)}
    with pytest.raises(ValueError, match="clip 'a'.*17"):
        VideoMotion2D(*write_set(tmp_path, {"a": entry}, {"a": ONE_TEXT}))
    with pytest.raises(ValueError, match="1 without caption"):
        VideoMotion2D(*write_set(tmp_path, {"a": clip_entry(40)}, {}))


def test_code_in_the_file_is_not_run(tmp_path: Path) -> None:
    files = write_set(tmp_path, {"a": clip_entry(40)}, {"a": ONE_TEXT})
    files[0].write_bytes(pickle.dumps({"a": Path("x")}, protocol=2))
    with pytest.raises(UnsafePickleError):
        VideoMotion2D(*files)


def test_tensors_are_read_too(tmp_path: Path) -> None:
    entry = clip_entry(40)
    tensors = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in entry.items()}
    one, other = (
        VideoMotion2D(*write_set(tmp_path / n, {"a": e}, {"a": ONE_TEXT}))[0]["joints2d"]
        for n, e in (("arrays", entry), ("tensors", tensors))
    )
    assert torch.equal(one, other)


def test_video_and_projected_motion_share_batches(tmp_path: Path, one_clip: list[Path]) -> None:
    import_synthetic(tmp_path / "store", num_clips=8)
    write_text_cache(tmp_path / "store", "hash", lambda texts: encode_numpy(HashTextEncoder(), texts))

    def projected() -> MotionViews:
        return MotionViews(
            str(tmp_path / "store"),
            "train",
            cameras=SingleCamera(),
            framing=Framing(),
            rules=IndexRules(),
            text_encoder="hash",
        )

    def video() -> VideoMotion2D:
        return VideoMotion2D(*one_clip, text_encoder=HashTextEncoder)

    mixture = mix_sources({"projected": projected, "video": video}, {"video": 1.0, "projected": 3.0})
    assert mixture.balance_weights(1.0)[-1] == pytest.approx(0.25)
    first, last = mixture[0], mixture[len(mixture) - 1]
    assert first.keys() == last.keys()
    assert all(first[k].ndim == last[k].ndim for k in first if isinstance(first[k], torch.Tensor))
    batch = collate([first, last], pad_frames=300)
    assert batch["joints2d"].shape == (2, 1, 300, 22, 2)
    assert not batch["conf"][1, 40:].any()
    features = HashTextEncoder().encode([last["text"]])
    np.testing.assert_allclose(last["text_tokens"], features.tokens[0], atol=2e-3)
    with pytest.raises(ValueError, match="differ"):
        mix_sources({"a": video}, {"b": 1.0})

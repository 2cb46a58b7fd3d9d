"""The 2D kind of the store: rendered from 3D, imported from keypoint files, flipped, and read as training items."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.body.skeleton import COCO17
from hmr4d.cli.prepare import main as prepare
from hmr4d.data.batching import collate
from hmr4d.data.importers.keypoints import store_frames
from hmr4d.data.importers.render2d import CameraDraws, observed, render_store
from hmr4d.data.importers.synthetic import import_synthetic
from hmr4d.data.keypoint_clips import KeypointClips, flip_keypoints, keypoint_faults, with_image_size
from hmr4d.data.lifting.corruptions import NO_CORRUPTION
from hmr4d.data.store import ClipStore, KeypointStore, MotionStore, StoreError
from hmr4d.data.video2d import VideoMotion2D
from hmr4d.keypoint_files.rates import even_times, resample_keypoints
from hmr4d.keypoint_files.reading import KeypointTrack, read_keypoints
from hmr4d.motion.procedural import synthetic_joints
from hmr4d.utils.randomness import ItemRandom


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store of 3D motion and its 2D tracks."""
    folder = tmp_path_factory.mktemp("stores")
    import_synthetic(folder / "3d", num_clips=12)
    assert prepare(["render-2d", "--store", str(folder / "3d"), "--out", str(folder / "2d"), "--views", "2"]) == 0
    return folder / "3d", folder / "2d"


def test_rendered_tracks_keep_splits_captions_and_labels(stores: tuple[Path, Path]) -> None:
    source, store = MotionStore.open(stores[0]), KeypointStore.open(stores[1])
    assert len(store) == 24 and store.fps == 30.0 and store.skeleton is COCO17
    for clip, name in enumerate(store.names):
        origin = source.index_of[name.partition("#")[0]]
        assert not keypoint_faults(store.keypoints(clip))
        assert store.splits[clip] == source.splits[origin]
        assert store.labels["content"][clip] == source.labels["content"][origin]
        assert store.lengths[clip] == int((source.lengths[origin] - 1) * 1.5) + 1
        texts = [[s.caption_texts[c.caption] for c in s.clip_captions(i)] for s, i in ((store, clip), (source, origin))]
        assert texts[0] == texts[1]


def test_a_rendered_person_is_seen_whole_and_large_enough(stores: tuple[Path, Path]) -> None:
    store = KeypointStore.open(stores[1])
    for clip in range(len(store)):
        keypoints, size = store.keypoints(clip)[:, :-1], store.image_size(clip)
        assert size is not None
        found = keypoints[..., 2] > 0
        assert (keypoints[found][:, :2] >= 0).all() and (keypoints[found][:, :2] <= np.array(size) - 1).all()


def test_rendering_sees_all_sides_and_depends_on_its_seed_alone(tmp_path: Path, stores: tuple[Path, Path]) -> None:
    again = render_store(stores[0], tmp_path / "again", views=2).path
    other = render_store(stores[0], tmp_path / "other", views=2, seed=1).path
    frames = {k: (p / "keypoints.npy").read_bytes() for k, p in (("a", stores[1]), ("b", again), ("c", other))}
    assert frames["a"] == frames["b"] != frames["c"]
    rng, standing = ItemRandom.from_seed(0), torch.from_numpy(synthetic_joints("bow", 5, np.random.default_rng(0)))
    widths = []
    for _ in range(40):
        drawn = CameraDraws().draw(standing, rng)
        assert drawn is not None
        widths.append(float(drawn[0][0, 16, 0] - drawn[0][0, 17, 0]))  # left minus right shoulder of SMPL-22
    assert min(widths) < -50 and max(widths) > 50


def test_rendering_is_the_pinhole_projection_of_equation_3() -> None:
    """u = f x / z + W / 2 with the principal point in the middle: similar triangles give the distance back."""
    joints = torch.zeros(2, 2, 3)
    joints[:, 1, 1] = 1.7
    cameras = CameraDraws(distance=(12.0, 12.0), sizes=((1280, 800),))
    drawn = cameras.draw(joints, ItemRandom.from_seed(3))
    assert drawn is not None
    height = float(drawn[0][0, 0, 1] - drawn[0][0, 1, 1])
    assert height == pytest.approx(5000 * 1.7 / 12.0, rel=1e-4)


def test_confidence_falls_with_the_error_but_not_with_exchanged_sides() -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).uniform(200, 600, (1, 17, 2)).astype(np.float32)).expand(
        30, 17, 2
    )
    size = torch.tensor([1280.0, 720.0])
    seen, conf = observed(pixels, size, NO_CORRUPTION, ItemRandom.from_seed(0))
    assert torch.equal(seen, pixels) and conf.min() >= 0.85

    class Swapped:
        def apply(self, pixels: torch.Tensor, *_: object) -> tuple[torch.Tensor, torch.Tensor]:
            moved = pixels[:, list(COCO17.mirror_order)].clone()
            moved[:, 0] += 100.0
            return moved, torch.ones(moved.shape[:2], dtype=torch.bool)

    _, conf = observed(pixels, size, Swapped(), ItemRandom.from_seed(0))  # type: ignore[arg-type]
    assert conf[:, 1:].min() >= 0.85 and conf[:, 0].max() < 0.1


def test_flip_mirrors_points_and_leaves_size_and_missing_ones() -> None:
    rng = np.random.default_rng(0)
    conf = rng.uniform(0.1, 1, (4, 17))
    conf[1, 9] = 0.0
    keypoints = torch.from_numpy(with_image_size(rng.uniform(0, 700, (4, 17, 2)), conf, (1280, 720)))
    flipped = flip_keypoints(keypoints)
    assert torch.equal(flipped[:, 17], keypoints[:, 17])
    assert flipped[0, 6, 0] == 1280 - keypoints[0, 5, 0] and flipped[0, 6, 1] == keypoints[0, 5, 1]
    assert torch.equal(flipped[1, 10], torch.zeros(3))
    assert torch.allclose(flip_keypoints(flipped), keypoints, atol=1e-4)


def test_items_are_windows_with_mirrored_words(stores: tuple[Path, Path]) -> None:
    store = KeypointStore.open(stores[1])
    plain, mirrored = (KeypointClips(store, "train", window=32, flip_prob=p) for p in (0.0, 1.0))
    for index in range(len(plain)):
        one, other = plain[(index, 5)], mirrored[(index, 5)]
        assert one["keypoints"].shape == (32, 18, 3) and one["start"] == other["start"]
        clip = torch.from_numpy(np.array(store.keypoints(one["clip"])))
        assert torch.equal(one["keypoints"], clip[one["start"] : one["start"] + 32])
        assert torch.equal(other["keypoints"], flip_keypoints(one["keypoints"]))
        assert other["caption"] == store.caption_mirror[one["caption"]]
    assert len({plain[(0, seed)]["start"] for seed in range(20)}) > 5


def test_whole_clips_have_frames_in_fours_and_some_start_later(stores: tuple[Path, Path]) -> None:
    clips = KeypointClips(str(stores[1]), None)
    items = [clips[(0, seed)] for seed in range(60)]
    lengths = {item["length"] for item in items}
    assert lengths == {clips.num_frames(0), clips.num_frames(0) - 4} and all(n % 4 == 0 for n in lengths)
    assert 8 <= sum(item["length"] < clips.num_frames(0) for item in items) <= 32
    batch = collate([clips[0], clips[3]])
    assert batch["keypoints"].shape == (2, int(batch["lengths"].max()), 18, 3)
    steady = KeypointClips(str(stores[1]), None, is_random=False)
    assert {(steady[(0, s)]["length"], steady[(0, s)]["start"]) for s in range(9)} == {(clips.num_frames(0), 0)}


def test_a_store_is_read_as_its_own_kind_only(stores: tuple[Path, Path]) -> None:
    with pytest.raises(StoreError, match=r"contains 3D motion; expected one of 2D keypoints"):
        KeypointStore.open(stores[0])
    with pytest.raises(StoreError, match=r"contains 2D keypoints; expected one of 3D motion"):
        MotionStore.open(stores[1])
    assert [ClipStore.open(path).kind.about for path in stores] == ["3D motion", "2D keypoints"]


def test_no_3d_is_left_in_the_tracks(stores: tuple[Path, Path]) -> None:
    names = {path.name for path in stores[1].iterdir()}
    assert names == {"captions.json", "clip_captions.npz", "clips.json", "keypoints.npy", "NOTICE.md", "store.json"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda k: k[:, :5], "have shape"),
        (lambda k: k.astype(np.float64), "are float64"),
        (lambda k: np.where(np.arange(18)[:, None] == 3, np.float32(np.nan), k), "frame 0 has a number"),
        (lambda k: k * np.array([1, 1, 2], np.float32), "confidences lie between"),
        (lambda k: np.concatenate([k, k + np.array([1, 0, 0], np.float32)]), "the image size is 1280 x 720 in frame 0"),
        (lambda k: k * np.array([1, 1, 0], np.float32), "no keypoint is detected"),
    ],
)
def test_faults_of_a_clip_are_reported(change, sentence: str) -> None:
    keypoints = with_image_size(np.full((4, 17, 2), 9.0), np.full((4, 17), 0.9), (1280, 720))
    assert not keypoint_faults(keypoints)
    assert any(sentence in fault for fault in keypoint_faults(change(keypoints)))


def track(sizes: tuple[tuple[int, int], ...] = (), fps: float | None = 25.0) -> KeypointTrack:
    points = np.full((26, 17, 2), 100.0, np.float32) + np.arange(26, dtype=np.float32)[:, None, None]
    return KeypointTrack(points, np.full((26, 17), 0.9, np.float32), COCO17, np.arange(26), fps, "0", sizes)


def test_tracks_come_to_30_frames_per_second_on_a_line() -> None:
    frames = store_frames(track(((640, 480),)), COCO17)
    assert frames.shape == (31, 18, 3)
    assert np.allclose(frames[:, 0, 0], 100 + np.arange(31) * 25 / 30, atol=1e-4)
    assert frames[7, 17].tolist() == [640, 480, 1]


def test_changing_image_size_and_unknown_rate_are_refused() -> None:
    with pytest.raises(ValueError, match=r"image size changes \(640 x 480, 320 x 240\)"):
        store_frames(track(((640, 480), (320, 240))), COCO17)
    with pytest.raises(ValueError, match=r"does not contain its frames per second"):
        store_frames(track(fps=None), COCO17)


def test_a_rate_of_no_camera_and_a_size_of_other_images_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="the rate is 2000; expected 1 to 1000 frames per second"):
        store_frames(track(fps=2000.0), COCO17)
    with pytest.raises(ValueError, match="v = 100 to 125, but the image is 80 x 60 pixels"):
        store_frames(track(((80, 60),)), COCO17)
    store_frames(track(fps=None), COCO17, fps=25.0, size=(119, 300))
    assert "u = 100 to 125, v = 100 to 125, but the image is 119 x 300 pixels. Check the size of --size" in caplog.text


def test_resampled_confidence_is_the_less_sure_and_missing_stays_missing() -> None:
    keypoints = np.array([[[0, 0, 0.9]], [[10, 0, 0.5]], [[0, 0, 0.0]], [[30, 0, 0.7]]], np.float32)
    times = np.array([0.0, 0.1, 0.2, 0.3])
    made = resample_keypoints(keypoints, times, np.array([0.0, 0.05, 0.1, 0.15, 0.3]))
    assert np.allclose(made[:, 0], [[0, 0, 0.9], [5, 0, 0.5], [10, 0, 0.5], [0, 0, 0], [30, 0, 0.7]], atol=1e-5)
    assert len(even_times(times, 30.0)) == 10
    with pytest.raises(ValueError, match="rising"):
        resample_keypoints(keypoints, times[::-1], times)


def test_files_tell_their_image_size(tmp_path: Path) -> None:
    person = np.c_[np.random.default_rng(0).uniform(0, 300, (17, 2)), np.ones(17)].ravel().tolist()
    coco = {
        "images": [{"id": i, "file_name": f"{i:06d}.jpg", "width": 640, "height": 480 if i else 360} for i in range(2)],
        "annotations": [{"image_id": i, "category_id": 1, "keypoints": person} for i in range(2)],
    }
    (tmp_path / "a.json").write_text(json.dumps(coco))
    read = read_keypoints(tmp_path / "a.json", skeleton="coco17")
    assert isinstance(read, KeypointTrack) and read.image_sizes == ((640, 360), (640, 480))
    points = np.random.default_rng(1).uniform(0, 900, (26, 17, 2))
    np.savez(tmp_path / "b.npz", kp2d=points, conf=track().kp2d_conf, width=1920, height=1080)
    read = read_keypoints(tmp_path / "b.npz", skeleton="coco17")
    assert isinstance(read, KeypointTrack) and read.image_sizes == ((1920, 1080),)


def test_a_2d_store_feeds_the_training_on_single_views(stores: tuple[Path, Path]) -> None:
    clips = VideoMotion2D(stores[1], split="train")
    item = clips[0]
    assert item["joints2d"].shape == (1, item["length"], 22, 2) and item["conf"].shape == (item["length"], 22)
    feet = [9, 10]  # left and right foot without the root before them
    assert (item["conf"][:, feet] == 0).all() and torch.isfinite(item["joints2d"]).all()

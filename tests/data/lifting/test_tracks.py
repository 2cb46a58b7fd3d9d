"""2D tracks as training examples: with cameras or without, cleaned, resampled, and told what is not known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor

from hmr4d.body.joint_conversion import convert_joints
from hmr4d.body.skeleton import COCO17, H36M17, SMPL22, Skeleton
from hmr4d.camera.camera_files import CameraFile, write_camera
from hmr4d.camera.rig_samplers import SurroundingRigs
from hmr4d.data.batching import collate
from hmr4d.data.lifting.tracks import LiftingTracks, Track2D, folder_tracks
from hmr4d.data.lifting.views import LiftingViews
from hmr4d.data.store import MotionStore
from hmr4d.data.store_writer import Caption, StoreWriter
from hmr4d.engine.compose import compose_config
from hmr4d.geometry.ground_pointmap import ground_pointmap
from hmr4d.geometry.rigs import Rig, camera_condition, camera_pose, mirror_rig, project
from hmr4d.motion.procedural import synthetic_joints
from hmr4d.representation.bbox_pose2d import BboxPose2DCodec

SIZE = torch.tensor([1280.0, 960.0])


def camera() -> Rig:
    T = camera_pose(*(torch.tensor([a]) for a in (0.15, 0.02, 0.0)), torch.tensor([[0.0, 1.6, 0.0]]))
    return Rig(SIZE[None], torch.tensor([[900.0, 900.0, 650.0, 470.0]]), T)


def walk(frames: int, skeleton: Skeleton = COCO17, seed: int = 0) -> Tensor:
    """(L, J, 2) pixels of a walk in front of `camera`."""
    joints3d = torch.from_numpy(synthetic_joints("walk", frames, np.random.default_rng(seed)))
    joints3d = joints3d - joints3d[:, :1].mean(0) * torch.tensor([1.0, 0.0, 1.0]) + torch.tensor([0.0, 0.0, -5.0])
    return project(camera(), convert_joints(joints3d, SMPL22, skeleton))[0][0]


def track(
    frames: int = 90, skeleton: Skeleton = COCO17, *, fps: float = 30.0, known: bool = True, **changes: Tensor
) -> Track2D:
    pixels = walk(frames, skeleton)
    conf = changes.get("conf", torch.ones(pixels.shape[:-1]))
    return Track2D("walk", changes.get("kp2d", pixels), conf, skeleton, fps, SIZE, camera() if known else None)


def examples(*tracks: Track2D, skeleton: Skeleton = COCO17, **changes: float) -> LiftingTracks:
    settings = {"min_frames": 40, "max_frames": 60, "grid": 8, "mirror_prob": 0.0} | changes
    return LiftingTracks(tracks, codec=BboxPose2DCodec(skeleton), **settings)  # type: ignore[arg-type]


def test_a_clean_track_comes_through() -> None:
    data = examples(track(60))
    item = data[0]
    assert item["length"] == 60
    assert torch.allclose(data.codec.decode(item["features"][0], SIZE), walk(60), atol=0.01)
    assert torch.allclose(item["kp2d_obs"], walk(60))
    assert item["visible"].all()
    assert item["known2d"].all()
    assert item["camera_known"]
    assert torch.equal(item["cond"], camera_condition(camera()))
    assert torch.equal(item["pointmap"], ground_pointmap(camera(), 8))


def test_without_a_camera_nothing_is_reported_it() -> None:
    item = examples(track(known=False))[0]
    assert item["camera_known"] is False
    assert (item["cond"] == 0).all()
    assert (item["pointmap"] == 0).all()
    assert torch.equal(item["size"], SIZE[None])


def test_missing_joints_are_synthetic_and_told() -> None:
    conf = torch.ones(60, 17)
    conf[20:24, 9] = 0.1
    kp2d = walk(60).clone()
    kp2d[20:24, 9] = 0.0
    data = examples(track(60, conf=conf, kp2d=kp2d))
    item = data[0]
    assert torch.equal(item["known2d"][0], conf > 0.3)
    made_up = data.codec.decode(item["features"][0], SIZE)[20:24, 9]
    a, b = walk(60)[19, 9], walk(60)[24, 9]
    expected = a + torch.arange(1, 5)[:, None] / 5 * (b - a)
    assert torch.allclose(made_up, expected, atol=0.01)
    assert (item["kp2d_obs"][20:24, 9] == 0).all()


def test_frames_without_a_torso_teach_nothing() -> None:
    conf = torch.ones(60, 17)
    conf[5:9, 11] = 0.0  # a hip
    conf[30:33, 5:7] = 0.0  # both shoulders
    conf[40, 0:7] = 0.0  # too few joints
    item = examples(track(60, conf=conf))[0]
    lost = torch.zeros(60, dtype=torch.bool)
    lost[5:9] = lost[30:33] = lost[40] = True
    assert torch.equal(~item["known2d"][0].any(-1), lost)
    assert item["visible"][5, 12]


def test_bad_tracks_are_skipped(caplog: pytest.LogCaptureFixture) -> None:
    poor = torch.ones(90, 17)
    poor[:50, 11] = 0.0
    with caplog.at_level("INFO"):
        data = examples(track(), track(30), track(conf=poor))
    assert len(data) == 1
    assert "2D tracks: 1 (left out: 1 too short, 1 with too many joints missing)" in caplog.text
    with pytest.raises(ValueError, match="No 2D track remains for training: 1 too short"):
        examples(track(30))


def test_other_rates_and_joints() -> None:
    data = examples(track(90, fps=60.0), max_frames=300)
    item = data[0]
    assert item["length"] == data.num_frames(0) == 45
    assert torch.allclose(item["kp2d_obs"], walk(90)[::2], atol=1e-3)
    item = examples(track(60), skeleton=H36M17)[0]
    assert torch.allclose(item["kp2d_obs"], convert_joints(walk(60), COCO17, H36M17), atol=1e-3)


def test_windows_and_seeds() -> None:
    data = examples(track(200))
    starts = {float(data[0, seed]["kp2d_obs"][0, 0, 0]) for seed in range(20)}
    assert len(starts) > 10
    assert torch.equal(data[0, 3]["features"], data[0, 3]["features"])
    assert data[0]["length"] == 60


def test_mirrored_tracks_fit_mirrored_cameras() -> None:
    plain, mirrored = examples(track(60))[0], examples(track(60), mirror_prob=1.0)[0]
    swapped = plain["kp2d_obs"][:, COCO17.mirror_order]
    assert torch.allclose(mirrored["kp2d_obs"][..., 0], SIZE[0] - 1 - swapped[..., 0])
    assert torch.allclose(mirrored["kp2d_obs"][..., 1], swapped[..., 1])
    assert torch.allclose(mirrored["T_w2c"], mirror_rig(camera()).T_w2c)
    assert torch.allclose(mirrored["pointmap"], ground_pointmap(mirror_rig(camera()), 8))


def test_longer_tracks_are_drawn_more_often() -> None:
    weights = examples(track(50), track(200)).balance_weights(0.5)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[1] / weights[0] == pytest.approx(2.0)


def test_tracks_and_projected_motion_share_batches(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "s", name="s", source="test", licence="none", notice="", settings={}, fps=30.0)
    writer.add("walk", synthetic_joints("walk", 70, np.random.default_rng(1)), split="train")
    writer.finish(annotate=lambda record: [Caption("walks")], mirror_text=str, tokenize=str.split)
    views = LiftingViews(
        MotionStore.open(tmp_path / "s"),
        "train",
        rigs=SurroundingRigs(num_views=1),
        codec=BboxPose2DCodec(COCO17),
        max_frames=50,
        min_frames=40,
        grid=8,
    )
    items = [views[0], examples(track())[0], examples(track(45, known=False))[0]]
    assert all(item.keys() == items[0].keys() for item in items)
    batch = collate(items)
    assert batch["known2d"].shape == (3, 1, 60, 17)
    assert not batch["known2d"][2, :, 45:].any()
    assert batch["camera_known"].tolist() == [True, True, False]


def write_keypoints(path: Path, frames: int = 60) -> None:
    np.savez(path, kp2d=walk(frames).numpy(), kp2d_conf=np.ones((frames, 17), np.float32))


def test_folders_of_keypoint_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_keypoints(tmp_path / f"{name}.npz")
    with pytest.raises(ValueError, match=r"image size of .*one.npz is unknown. Pass size, or put a camera.yaml"):
        folder_tracks(tmp_path, fps=30.0, skeleton="coco17")
    alone = folder_tracks(tmp_path, fps=30.0, skeleton="coco17", size=(1280, 960))
    assert [t.camera for t in alone] == [None, None]
    rig = camera().to(torch.float64)
    write_camera(tmp_path / "two.yaml", CameraFile((1280, 960), rig.K4[0], torch.zeros(0), rig.T_w2c[0]))
    tracks = folder_tracks(tmp_path, fps=30.0, skeleton="coco17", size=(1280, 960))
    assert tracks[0].camera is None
    assert tracks[1].camera is not None
    assert torch.allclose(tracks[1].camera.T_w2c, rig.T_w2c, atol=1e-5)
    assert torch.allclose(tracks[1].kp2d, walk(60))
    assert len(examples(*tracks)) == 2
    with pytest.raises(ValueError, match="does not contain its frame rate"):
        folder_tracks(tmp_path, skeleton="coco17", size=(1280, 960))
    with pytest.raises(FileNotFoundError, match="No keypoint files"):
        folder_tracks(tmp_path / "nowhere")


def test_a_training_takes_them_next_to_projected_motion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As configured: half of the draws, on the joints of the network."""
    folder, store = tmp_path / "mine", tmp_path / "inputs" / "bandai_namco"
    folder.mkdir()
    writer = StoreWriter(store, name="b", source="test", licence="none", notice="", settings={}, fps=20.0)
    writer.add("walk", synthetic_joints("walk", 70, np.random.default_rng(1)), split="train")
    writer.finish(annotate=lambda record: [Caption("walks")], mirror_text=str, tokenize=str.split)
    kp2d = walk(60, SMPL22).numpy()
    np.savez(folder / "walk.npz", kp2d=kp2d, kp2d_conf=np.ones(kp2d.shape[:2], np.float32))
    monkeypatch.setenv("HMR4D_INPUTS", str(tmp_path / "inputs"))
    cfg = compose_config(
        [
            "exp=mocap2to3/pretrain_2d_tiny",
            "data=bandai_namco",
            "tracks2d=folder",
            "data.batch_size=32",
            f"datamodule.extra.tracks.folder={folder}",
            "datamodule.extra.tracks.fps=20",
            "datamodule.extra.tracks.size=[1280,960]",
            "data.batches_per_epoch=2",
        ]
    )
    batches = list(instantiate(cfg.datamodule, _convert_="all").train_dataloader())
    known = torch.cat([batch["camera_known"] for batch in batches])
    assert 16 < int(known.sum()) < 48
    assert batches[0]["features"].shape[0] == 32


def data_scale(item: dict[str, Tensor]) -> float:
    """Largest side of the body's box over that of the image."""
    return float((BboxPose2DCodec(SMPL22).scale(item["features"]).max() + 1) / 2)


def test_detections_train_networks_of_smpl_joints() -> None:
    """Toes are not known, so that nothing is learned of them; limbs are where they were seen."""
    item = examples(track(60), skeleton=SMPL22)[0]
    known = item["known2d"][0]
    toes = list(SMPL22.indices("left_foot", "right_foot"))
    assert not known[:, toes].any() and known.float().mean() > 0.9
    pixels = BboxPose2DCodec(SMPL22).decode(item["features"][0], item["size"][0])
    assert data_scale(item) < 0.5  # feet that no keypoint tells are not at the corner of the image
    knee = SMPL22.index("left_knee")
    torch.testing.assert_close(pixels[:, knee], walk(60, SMPL22)[:, knee], rtol=1e-4, atol=0.05)


def test_2d_of_some_clips_of_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As configured: the 2D of clips with a label beside the 3D of all others, and none of their 3D."""
    writer = StoreWriter(
        tmp_path / "inputs" / "bandai_namco", name="b", source="test", licence="none", notice="", settings={}, fps=20.0
    )
    for i, content in enumerate(("walk", "run")):
        joints3d = synthetic_joints("walk", 70, np.random.default_rng(i))
        writer.add(f"clip{i}", joints3d, split="train", labels={"content": content})
    writer.finish(annotate=lambda record: [Caption("walks")], mirror_text=str, tokenize=str.split)
    monkeypatch.setenv("HMR4D_INPUTS", str(tmp_path / "inputs"))
    cfg = compose_config(
        [
            "exp=mocap2to3/pretrain_2d_tiny",
            "data=bandai_namco",
            "tracks2d=store",
            "data.batch_size=32",
            "data.train.rules.exclude_labels={content:[run]}",
            "datamodule.extra.tracks.views.labels={content:[run]}",
            "data.batches_per_epoch=1",
        ]
    )
    data = instantiate(cfg.datamodule, _convert_="all")
    (batch,) = list(data.train_dataloader())
    has_3d = batch["joints3d"].flatten(1).any(1)
    assert 8 < int(has_3d.sum()) < 24 and batch["camera_known"].all()
    walks, runs = data.train_dataloader().dataset.sources
    assert walks.clips.tolist() == [0] and [track.name for track in runs.tracks] == ["clip1"]

"""Examples of lifting: what the rig sees is the motion, on the floor, in view, damaged only where asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.body.joint_conventions import foot_heights
from hmr4d.body.light_body import load_light_body
from hmr4d.body.skeleton import COCO17, SMPL22, Skeleton
from hmr4d.camera.rig_samplers import SurroundingRigs
from hmr4d.data.batching import collate
from hmr4d.data.lifting.corruptions import NO_CORRUPTION, KeypointCorruption
from hmr4d.data.lifting.placement import PlacementRules, find_place
from hmr4d.data.lifting.views import NO_AUGMENTATION, LiftingViews, MotionAugmentation, align_to_floor, miscalibrated
from hmr4d.data.store import MotionStore
from hmr4d.data.store_writer import Caption, StoreWriter
from hmr4d.geometry.ground_pointmap import ground_pointmap
from hmr4d.geometry.rigs import Rig, camera_angles, camera_condition, project
from hmr4d.motion.procedural import synthetic_joints
from hmr4d.representation.bbox_pose2d import BboxPose2DCodec
from hmr4d.utils.randomness import ItemRandom

FPS = 20.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> MotionStore:
    """Five walks and one clip too short for anything."""
    out = Path(tmp_path_factory.mktemp("walks"))
    writer = StoreWriter(out, name="walks", source="test", licence="none", notice="made up", settings={}, fps=FPS)
    for i, frames in enumerate((90, 70, 60, 50, 45, 8)):
        writer.add(f"walk{i}", synthetic_joints("walk", frames, np.random.default_rng(i)), split="train")
    writer.finish(annotate=lambda record: [Caption("walks")], mirror_text=str, tokenize=str.split)
    return MotionStore.open(out)


def views(store: MotionStore, skeleton: Skeleton = SMPL22, **changes: object) -> LiftingViews:
    settings: dict[str, object] = {
        "rigs": SurroundingRigs(),
        "codec": BboxPose2DCodec(skeleton),
        "fps": 30.0,
        "min_frames": 40,
        "max_frames": 60,
        "augmentation": MotionAugmentation(),
        "corruption": KeypointCorruption(),
        "grid": 16,
    }
    return LiftingViews(store, "train", **(settings | changes))  # type: ignore[arg-type]


def rig_of(item: dict[str, Tensor]) -> Rig:
    return Rig(item["size"], item["K4"], item["T_w2c"])


def bones(joints3d: Tensor, skeleton: Skeleton = SMPL22) -> Tensor:
    a, b = zip(*skeleton.bones, strict=True)
    return (joints3d[..., list(a), :] - joints3d[..., list(b), :]).norm(dim=-1)


def test_the_features_are_what_the_rig_sees_of_the_motion(store: MotionStore) -> None:
    """Also of mirrored items, whose pixels are mirrored rather than projected anew."""
    data = views(store)
    for seed in range(12):
        item = data[seed % len(data), seed]
        rig = rig_of(item)
        pixels, depth = project(rig, item["joints3d"])
        assert torch.allclose(data.codec.decode(item["features"], rig.size), pixels, atol=0.02)
        assert (depth > 0.3).all()
        inside = ((pixels[0] >= 0) & (pixels[0] <= rig.size[0] - 1)).all(-1)
        assert inside.float().mean() >= 0.9
        assert camera_angles(rig.T_w2c[0, :3, :3])[2].abs() < 1e-4
        assert item["features"].shape == (4, item["length"], data.codec.num_features)
        assert torch.equal(item["cond"], camera_condition(rig))
        assert torch.equal(item["pointmap"], ground_pointmap(rig, 16))


def test_feet_stand_on_the_floor_and_bones_are_scaled_as_one(store: MotionStore) -> None:
    data = views(store)
    for seed in range(8):
        index = seed % len(data)
        joints3d = data[index, seed]["joints3d"]
        lowest = joints3d[:, list(SMPL22.contact_joints), 1].flatten().sort().values
        assert float(lowest[len(lowest) // 100]) == pytest.approx(0.02, abs=0.01)
        assert joints3d[..., 1].max() < 2.3
        true = bones(torch.from_numpy(np.array(store.joints3d(int(data.clips[index])))))[0]
        ratio = bones(joints3d)[0].sort().values / true.sort().values
        assert ratio.max() / ratio.min() < 1.02
        assert 0.84 < ratio.mean() < 1.16


def test_without_augmentation_the_motion_is_only_moved(store: MotionStore) -> None:
    data = views(store, augmentation=None, corruption=None, fps=FPS)
    item = data[0]
    assert data.augmentation == NO_AUGMENTATION
    assert data.corruption == NO_CORRUPTION
    assert item["length"] == 60
    original = torch.from_numpy(np.array(store.joints3d(int(data.clips[0]))))

    def distances(joints3d: Tensor) -> Tensor:
        """Between some joints of some frames: what no motion of the whole changes."""
        points = joints3d[::9, ::3].flatten(0, 1)
        return (points[:, None] - points).norm(dim=-1)

    windows = (original[start : start + 60] for start in range(len(original) - 60 + 1))
    assert sum(torch.allclose(distances(w), distances(item["joints3d"]), atol=1e-4) for w in windows) == 1
    assert item["visible"].all()
    condition = data.codec.encode_condition(
        project(rig_of(item), item["joints3d"])[0][0], item["size"][0], item["visible"]
    )
    assert torch.allclose(item["condition2d"], condition, atol=1e-4)


def test_items_depend_on_index_and_seed_alone(store: MotionStore) -> None:
    first, again, other = views(store)[1], views(store)[1], views(store, seed=1)[1]
    for key, value in first.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(again[key])), key
    assert not torch.equal(first["T_w2c"], other["T_w2c"])
    drawn = views(store)[1, 77]
    assert torch.equal(drawn["features"], views(store)[1, 77]["features"])


def test_a_rate_of_its_own_and_a_speed(store: MotionStore) -> None:
    plain = {"corruption": None, "min_frames": 10, "max_frames": 300}
    slow = views(store, augmentation=MotionAugmentation((1, 1), (0.5, 0.5), 0.0), **plain)
    fast = views(store, augmentation=MotionAugmentation((1, 1), (2.0, 2.0), 0.0), **plain)
    usual = views(store, augmentation=None, **plain)
    assert usual[0]["length"] == usual.num_frames(0) == int(89 * 1.5) + 1
    assert slow[0]["length"] == 89 * 3 + 1
    assert fast[0]["length"] == int(89 * 0.75) + 1
    paths = [(d[0]["joints3d"][-1, 0] - d[0]["joints3d"][0, 0]).norm() for d in (slow, fast, usual)]
    assert max(paths) - min(paths) < 0.1


def test_short_clips_are_skipped_and_none_is_an_error(store: MotionStore) -> None:
    assert len(views(store, augmentation=None, min_frames=60)) == 5
    assert len(views(store, augmentation=MotionAugmentation(), min_frames=60)) == 3
    with pytest.raises(ValueError, match="has 400 frames at 30 fps"):
        views(store, min_frames=400, max_frames=500)
    with pytest.raises(ValueError, match=r"speed is \(2, 1\)"):
        MotionAugmentation(speed=(2, 1))


def test_one_view_for_the_first_stage(store: MotionStore) -> None:
    item = views(store, rigs=SurroundingRigs(num_views=1))[0]
    assert item["features"].shape[0] == item["cond"].shape[0] == item["pointmap"].shape[0] == 1


def test_virtual_rigs_look_at_the_person(store: MotionStore) -> None:
    data = views(store, rigs=SurroundingRigs(virtual_share=1.0), augmentation=NO_AUGMENTATION)
    for index in range(len(data)):
        item = data[index]
        rig = rig_of(item)
        assert torch.allclose(rig.K4, rig.K4[:1].expand(4, 4))
        assert torch.allclose(rig.centers[:, 1], rig.centers[:1, 1].expand(4), atol=1e-4)
        pixels, depth = project(rig, item["joints3d"][:, :1])
        root = pixels[1:, :, 0] / rig.size[1:, None]
        assert ((root > 0) & (root < 1)).all(-1).float().mean() > 0.9
        assert (depth[1:].mean() / depth[0].mean() - 1).abs() < 0.5


def test_mirrored_items_are_motions_with_left_and_right_exchanged(store: MotionStore) -> None:
    """A walker's left stays on the left of the way it goes."""
    always = views(store, augmentation=MotionAugmentation((1, 1), (1, 1), 1.0), corruption=None)
    never = views(store, augmentation=MotionAugmentation((1, 1), (1, 1), 0.0), corruption=None)
    for seed in range(6):
        a, b = always[0, seed], never[0, seed]
        assert torch.allclose(
            a["joints3d"][..., SMPL22.mirror_order, :] * torch.tensor([-1.0, 1.0, 1.0]), b["joints3d"]
        )
        for item in (a, b):
            joints = item["joints3d"]
            left = (joints[:, 1] - joints[:, 2]).mean(0)
            ahead = torch.linalg.cross(left, torch.tensor([0.0, 1.0, 0.0]))
            assert (joints[-1, 0] - joints[0, 0]) @ ahead > 0


def test_another_skeleton(store: MotionStore) -> None:
    item = views(store, COCO17)[0]
    assert item["joints3d"].shape[1:] == (17, 3)
    assert item["condition2d"].shape[-1] == BboxPose2DCodec(COCO17).num_condition_features
    assert 0.03 < item["joints3d"][:, [15, 16], 1].min() < 0.15  # ankles, over toes that touch the floor


def test_what_detectors_see_of_smpl_joints(store: MotionStore) -> None:
    """Features are the true joints; what is observed is what COCO keypoints tell of them, with toes or without."""
    plain = views(store, corruption=None)
    data, never = (views(store, corruption=None, detector_share=share) for share in (1.0, 0.0))
    toes, limbs = list(SMPL22.indices("left_foot", "right_foot")), list(SMPL22.indices("left_knee", "right_wrist"))
    seen_toes = set()
    for seed in range(8):
        item, other = data.item(0, ItemRandom.from_seed(seed)), plain.item(0, ItemRandom.from_seed(seed))
        assert torch.equal(item["features"], other["features"]) and torch.equal(item["joints3d"], other["joints3d"])
        assert torch.equal(never.item(0, ItemRandom.from_seed(seed))["kp2d_obs"], other["kp2d_obs"])
        off = (item["kp2d_obs"] - other["kp2d_obs"]).norm(dim=-1)[:, item["visible"].all(0)]
        side = data.codec.box_side(item["features"][0], item["size"][0]).amax(-1)
        assert 1 < off.max() < 0.15 * side.max()  # pixels; hips are mixtures
        torch.testing.assert_close(item["kp2d_obs"][:, limbs], other["kp2d_obs"][:, limbs], rtol=1e-4, atol=1e-2)
        seen_toes.add(item["visible"][:, toes].float().mean().item())
        others = item["visible"].clone()
        others[:, toes] = True
        assert others.all()
    assert seen_toes == {0.0, 1.0}
    with pytest.raises(ValueError, match="only 'smpl22' can be derived from detector keypoints"):
        views(store, COCO17, detector_share=0.5)


def test_clips_are_chosen_by_labels(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path, name="b", source="test", licence="none", notice="", settings={}, fps=FPS)
    for i, content in enumerate(("walk", "run", "walk")):
        joints3d = synthetic_joints("walk", 90, np.random.default_rng(i))
        writer.add(f"clip{i}", joints3d, split="train", labels={"content": content})
    writer.finish(annotate=lambda record: [Caption("walks")], mirror_text=str, tokenize=str.split)
    store = MotionStore.open(tmp_path)
    assert views(store, labels={"content": ["walk"]}).clips.tolist() == [0, 2]
    assert views(store, exclude_labels={"content": ["walk"]}).clips.tolist() == [1]
    with pytest.raises(ValueError, match="label kinds"):
        views(store, labels={"colour": ["red"]})


def test_camera_noise_affects_only_the_input_of_view_0(store: MotionStore) -> None:
    exact = views(store)[0, 5]
    noisy = views(store, augmentation=MotionAugmentation(camera_noise=1.0))[0, 5]
    for key in ("T_w2c", "K4", "features"):
        assert torch.equal(exact[key], noisy[key])
    assert torch.equal(exact["cond"][1:], noisy["cond"][1:])
    assert torch.equal(exact["pointmap"][1:], noisy["pointmap"][1:])
    assert not torch.allclose(exact["cond"][0], noisy["cond"][0], atol=1e-4)
    assert not torch.allclose(exact["pointmap"][0], noisy["pointmap"][0], atol=1e-4)


def test_size_of_camera_noise(store: MotionStore) -> None:
    rig = rig_of(views(store)[0])
    told = torch.stack([camera_condition(miscalibrated(rig, 1.0, ItemRandom.from_seed(s)))[0] for s in range(400)])
    error = told - camera_condition(rig)[0]
    assert error[:, 4:6].rad2deg().std(0).tolist() == pytest.approx([0.5, 0.5], rel=0.15)
    assert float(error[:, 6].std() / camera_condition(rig)[0, 6]) == pytest.approx(0.03, rel=0.15)
    assert float(error[:, 0].std() / camera_condition(rig)[0, 0]) == pytest.approx(0.02, rel=0.15)
    assert miscalibrated(rig, 0.0, ItemRandom.from_seed(0)) is rig


def test_batches_are_padded(store: MotionStore) -> None:
    data = views(store, min_frames=10, max_frames=200, augmentation=None)
    batch = collate([data[0], data[3]])
    longest = int(batch["lengths"].max())
    assert batch["features"].shape == (2, 4, longest, 48)
    assert batch["condition2d"].shape == (2, longest, 72)
    assert batch["visible"].shape == batch["kp2d_obs"].shape[:-1] == (2, longest, 22)
    assert (batch["features"][1, :, batch["lengths"][1] :] == 0).all()
    assert not batch["visible"][1, batch["lengths"][1] :].any()


def test_a_place_is_where_the_whole_body_is_seen() -> None:
    body = load_light_body().rest_joints.expand(5, 22, 3)
    rules = PlacementRules()
    good = 0
    for seed in range(40):
        rng = ItemRandom.from_seed(seed)
        rig = SurroundingRigs(virtual_share=0.0).draw(rng)
        place = find_place(body, (0,), rig, rules, rng)
        moved = body + torch.stack([place.offset[0], torch.zeros(()), place.offset[1]])
        pixels, depth = project(rig, moved)
        inside = ((pixels >= 0) & (pixels <= rig.size[:, None, None] - 1)).all(-1) & (depth > 0)
        enough = inside[0].float().mean() >= 0.95 and inside[1:, :, 0].float().mean(-1).min() >= 0.8
        assert (place.score >= 1) == bool(enough and depth.min() >= 0.5)
        assert 2 - 1e-4 <= float(-place.offset[1]) <= 12
        good += place.score >= 1
    assert good >= 30


def test_standing_forgives_a_frame_below_the_floor() -> None:
    motion = load_light_body().rest_joints.expand(300, 22, 3).clone()
    motion[7] -= 0.5
    toes = align_to_floor(motion + torch.tensor([0.0, 3.0, 0.0]), SMPL22)[0, [10, 11], 1]
    assert torch.allclose(toes, torch.full((2,), 0.02), atol=1e-5)


def test_toes_stand_as_high_as_the_convention_of_the_store_says(store: MotionStore, tmp_path: Path) -> None:
    path = tmp_path / "told"
    shutil.copytree(store.path, path)
    info = json.loads((path / "store.json").read_text("utf-8"))
    (path / "store.json").write_text(json.dumps(info | {"joint_convention": "bandai_namco"}), "utf-8")
    lowest = []
    for one in (store, MotionStore.open(path)):
        heights = views(one)[0]["joints3d"][:, list(SMPL22.contact_joints), 1].flatten().sort().values
        lowest.append(float(heights[int(0.01 * (len(heights) - 1))]))
    assert lowest == pytest.approx([0.02, foot_heights("bandai_namco")["foot"]], abs=1e-5)


def damaged(
    frames: int = 120, seed: int = 0, size: tuple[float, float] = (1e6, 1e6), **options: float
) -> tuple[Tensor, Tensor, Tensor]:
    """True pixels, damaged ones and visibility of a still body in a box of 100 pixels; only `options` do damage."""
    quiet = {"noise": 0.0, "limb_prob": 0.0, "dropout_prob": 0.0, "swap_prob": 0.0, "outlier_prob": 0.0}
    pixels = 100 + 10 * torch.arange(44.0).reshape(22, 2).expand(frames, 22, 2)
    side = torch.full((frames, 2), 100.0)
    corruption = KeypointCorruption(**(quiet | options))
    return pixels, *corruption.apply(pixels, side, torch.tensor(size), SMPL22, ItemRandom.from_seed(seed))


def test_no_corruption_leaves_the_track() -> None:
    pixels, got, visible = damaged()
    assert torch.equal(pixels, got)
    assert visible.all()


def test_noise_is_a_share_of_the_box() -> None:
    sizes = []
    for seed in range(30):
        pixels, got, visible = damaged(seed=seed, noise=0.02)
        assert visible.all()
        sizes.append(float((got - pixels).std()))
    assert max(sizes) < 2.2
    assert 0.7 < sum(sizes) / len(sizes) < 1.3  # uniform up to 2 pixels


def test_limbs_go_missing_for_a_while() -> None:
    shares = []
    for seed in range(40):
        _, got, visible = damaged(seed=seed, limb_prob=0.2)
        assert (got[~visible] == 0).all()
        assert visible[:, [0, 1, 2, 3, 6, 9, 12, 15]].all()  # the trunk
        shares.append(float((~visible).any(0).float().mean()))
    assert 0.05 < sum(shares) / len(shares) < 0.2  # a fifth of 12 in 22 joints


def test_whole_frames_go_missing() -> None:
    lost = 0
    for seed in range(60):
        _, _, visible = damaged(seed=seed, dropout_prob=0.5)
        none = ~visible.any(-1)
        assert torch.equal(none, ~visible.all(-1))
        assert none.sum() <= 10
        lost += bool(none.any())
    assert 15 < lost < 45


def test_legs_change_sides_together() -> None:
    seen = False
    for seed in range(20):
        pixels, got, _ = damaged(seed=seed, swap_prob=0.5)
        changed = (got != pixels).any(-1)
        assert not changed[:, [0, 3, 6, 9, *range(12, 22)]].any()
        during = changed.any(-1)
        if during.any():
            seen = True
            assert torch.equal(got[during][:, [1, 4, 7, 10]], pixels[during][:, [2, 5, 8, 11]])
    assert seen


def test_outliers_are_few_and_far() -> None:
    pixels, got, _ = damaged(frames=2000, outlier_prob=0.01)
    off = (got != pixels).any(-1)
    assert float(off.float().mean()) == pytest.approx(0.01, rel=0.2)
    assert float((got - pixels)[off].std()) == pytest.approx(30.0, rel=0.1)


def test_joints_beyond_the_image_are_missing() -> None:
    pixels, got, visible = damaged(size=(300.0, 1e6))
    assert torch.equal(visible, pixels[..., 0] <= 299)
    assert (got[~visible] == 0).all()

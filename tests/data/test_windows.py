"""Windows whose length is drawn first: what they keep of a clip, how a clip goes on, and that lengths tell nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.camera.orbit_rigs import OrbitRig
from hmr4d.data.batching import SeededBatches, collate
from hmr4d.data.clip_index import IndexRules
from hmr4d.data.datasets import Framing, MotionViews
from hmr4d.data.mirrored_text import mirror_text
from hmr4d.data.store import MotionStore
from hmr4d.data.store_writer import Caption, StoreWriter
from hmr4d.data.windows import FreeWindows, find_loop, hold_end, is_still, repeat_loop
from hmr4d.motion.procedural import synthetic_joints
from hmr4d.utils.randomness import ItemRandom
from tests.data.tiny_store import write_store

FPS = 20.0


def clip(content: str, num_frames: int = 60) -> Tensor:
    return torch.from_numpy(synthetic_joints(content, num_frames, np.random.default_rng(1)))


def bones(joints3d: Tensor) -> Tensor:
    parents, children = zip(*SMPL22.bones, strict=True)
    return (joints3d[:, list(children)] - joints3d[:, list(parents)]).norm(dim=-1)


def fit(joints3d: Tensor, num_frames: int, seed: int = 0, tempo: float = 1.0) -> Tensor:
    windows = FreeWindows(1.0, 9.0, tempo=tempo)
    return windows.fit(joints3d, num_frames, fps=FPS, rng=ItemRandom.from_seed(seed), clip=0)


def test_a_walk_continues_walking_in_the_same_direction() -> None:
    walk = clip("walk")
    longer = fit(walk, 160)
    speed = (longer[1:, 0] - longer[:-1, 0]).norm(dim=-1) * FPS
    original = (walk[1:, 0] - walk[:-1, 0]).norm(dim=-1).mean() * FPS
    assert len(longer) == 160
    assert speed.min() > 0.7 * original
    assert speed.max() < 1.3 * original
    path, start = longer[:, 0, [0, 2]], walk[:, 0, [0, 2]]
    along = torch.nn.functional.normalize(start[-1] - start[0], dim=0)
    assert torch.nn.functional.normalize(path[-1] - path[0], dim=0) @ along > 0.99


def test_a_loop_keeps_bones_and_has_no_jumps() -> None:
    run = clip("run")
    loop = find_loop(run, fps=FPS)
    assert loop is not None
    longer = repeat_loop(run, loop, 150, fps=FPS)
    assert len(longer) >= 150
    assert (bones(longer) - bones(run)[:1]).abs().max() < 0.01
    assert torch.diff(longer, dim=0).norm(dim=-1).max() < 1.15 * torch.diff(run, dim=0).norm(dim=-1).max()


@pytest.mark.parametrize("seed", range(4))
def test_who_gets_up_after_sitting_still_also_gets_up_in_longer_windows(seed: int) -> None:
    standing = clip("bow")[0]
    seated = standing.clone()
    lowered = [SMPL22.index(name) for name in ("left_hip", "right_hip", "pelvis")]
    seated[lowered] -= torch.tensor([0.0, 0.4, 0.3])
    sway = 0.01 * torch.sin(torch.arange(40) / 3.0)[:, None, None] * torch.tensor([1.0, 0.0, 0.0])
    rise = torch.linspace(0.0, 1.0, 20)[:, None, None]
    walk_off = standing + torch.arange(1, 11)[:, None, None] * torch.tensor([0.0, 0.0, 0.06])
    joints3d = torch.cat([seated + sway, seated * (1.0 - rise) + standing * rise, walk_off])
    assert find_loop(joints3d[:40], fps=FPS) is not None
    longer = fit(joints3d, 150, seed=seed)
    assert len(longer) == 150
    assert longer[0, 0, 1] < standing[0, 1] - 0.3
    assert longer[-1, 0, 1] == pytest.approx(float(standing[0, 1]), abs=0.01)
    assert (longer[1:] - longer[:-1]).norm(dim=-1).max() < 0.09


def test_a_bow_is_repeated_or_the_person_stands() -> None:
    bow = clip("bow")
    lowest = float(bow[:, SMPL22.index("head"), 1].min())
    for seed in range(8):
        longer = fit(bow, 150, seed)
        assert len(longer) == 150
        assert float(longer[:, SMPL22.index("head"), 1].min()) == pytest.approx(lowest, abs=0.02)
        assert (longer[:, 0] - longer[:1, 0]).norm(dim=-1).max() < 0.05


def test_what_follows_a_loop_goes_on_where_and_as_the_person_is() -> None:
    circle, bow = clip("run"), clip("bow")
    turn = torch.linspace(0.0, 1.5, len(circle))
    cos, sin = turn.cos()[:, None], turn.sin()[:, None]
    x, y, z = circle.unbind(-1)
    circle = torch.stack([cos * x + sin * z, y, cos * z - sin * x], -1)
    joints3d = torch.cat([circle, bow - bow[0, 0] + circle[-1, 0]])
    i, j = 5, len(circle) - 6
    longer = repeat_loop(joints3d, (i, j), 260, fps=FPS)
    rest = joints3d[j + 1 :]
    assert len(longer) >= 260
    steps = (longer[1:] - longer[:-1]).norm(dim=-1)[-len(rest) :]
    assert torch.allclose(steps, (joints3d[1:] - joints3d[:-1]).norm(dim=-1)[j:], atol=1e-4)
    assert (longer[-1, 0] - joints3d[-1, 0]).norm() > 0.5


def test_a_still_end_is_held_without_drifting() -> None:
    bow = clip("bow")
    assert is_still(bow, FPS)
    held = hold_end(bow, 200, fps=FPS)
    assert torch.equal(held[:60], bow)
    assert (held[60:] - bow[-1]).norm(dim=-1).max() < 0.1


def test_who_travels_and_finds_no_loop_is_not_held() -> None:
    start = clip("walk", 14)
    assert find_loop(start, fps=FPS) is None
    assert len(fit(start, 100)) == 14


def test_short_windows_lie_where_the_movement_is() -> None:
    bow = torch.cat([clip("bow")[:1].expand(100, -1, -1), clip("bow"), clip("bow")[-1:].expand(100, -1, -1)])
    head = SMPL22.index("head")
    lows = [float(fit(bow, 40, seed)[:, head, 1].min()) for seed in range(20)]
    assert sum(low < float(bow[:, head, 1].min()) + 0.05 for low in lows) >= 18


def test_tempo_changes_the_speed_within_its_range() -> None:
    walk = clip("walk", 120)
    original = (walk[1:, 0] - walk[:-1, 0]).norm(dim=-1).mean()
    ratios = []
    for seed in range(12):
        window = fit(walk, 40, seed, tempo=1.2)
        assert len(window) == 40
        ratios.append(float((window[1:, 0] - window[:-1, 0]).norm(dim=-1).mean() / original))
    assert 0.97 < min(ratios) < 1.1 < max(ratios) < 1.25


def test_lengths_in_batches_do_not_tell_the_content(tmp_path: Path) -> None:
    """The best threshold on the length tells short clips from long ones no better than chance, and padding is small."""
    clips = {f"short{i}": 30 for i in range(20)} | {f"long{i}": 180 for i in range(20)}
    labels = {name: {"content": name.rstrip("0123456789")} for name in clips}
    store = write_store(tmp_path / "store", clips, labels=labels)
    windows = FreeWindows(1.5, 9.0)
    dataset = MotionViews(
        store,
        "train",
        cameras=OrbitRig(),
        framing=Framing(),
        rules=IndexRules(1.0, 9.0, keep_long=True),
        fps=FPS,
        windows=windows,
    )
    batches = SeededBatches(
        np.array([dataset.num_frames(i) for i in range(len(dataset))]),
        batch_size=16,
        batches_per_epoch=48,
        bucket=16,
        drawn_length=dataset.num_frames,
    )
    drawn = [(dataset.num_frames(i, seed), i >= 20) for batch in batches for i, seed in batch]
    best = max(abs(np.mean([(n > bound) == is_long for n, is_long in drawn]) - 0.5) for bound in range(30, 180, 5))
    assert best < 0.06
    padded = [
        1 - np.mean([dataset.num_frames(i, s) for i, s in b]) / max(dataset.num_frames(i, s) for i, s in b)
        for b in batches
    ]
    assert np.mean(padded) < 0.10
    batch = collate([dataset[pair] for pair in next(iter(batches))])
    assert batch["joints3d"].shape[1] == int(batch["lengths"].max())


def test_item_with_window_depends_on_index_and_seed_alone(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", {"a": 50, "b": 120})

    def build() -> MotionViews:
        return MotionViews(
            store,
            "train",
            cameras=OrbitRig(),
            framing=Framing(),
            rules=IndexRules(1.0, 9.0, keep_long=True),
            fps=FPS,
            windows=FreeWindows(),
            mirror_prob=0.5,
        )

    first, second = build(), build()
    pairs = [(0, 11), (1, 12), (0, 13)]
    forward = [first[pair]["joints3d"] for pair in pairs]
    backward = [second[pair]["joints3d"] for pair in reversed(pairs)][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forward, backward, strict=True))


def test_data_sets_with_the_same_windows_do_not_share_loops(tmp_path: Path) -> None:
    """A clip that comes back to a pose, and one that does not, have the same number in their data sets."""
    sway = np.sin(2.0 * np.pi * np.arange(60) / FPS)[:, None, None] * 0.1
    pose = synthetic_joints("walk", 1, np.random.default_rng(0))
    motions = pose + sway, pose + np.linspace(0.0, 2.0, 60)[:, None, None] * np.linspace(0.5, 1.5, 22)[:, None]
    stores = []
    for name, joints in zip(("sway", "grow"), motions, strict=True):
        writer = StoreWriter(tmp_path / name, name=name, source="", licence="none", notice="", settings={}, fps=FPS)
        writer.add("clip", joints.astype(np.float32), split="train")
        writer.finish(annotate=lambda _: [Caption("moves")], mirror_text=mirror_text, tokenize=str.split)
        stores.append(MotionStore.open(tmp_path / name))

    def build(store: MotionStore, windows: FreeWindows) -> MotionViews:
        return MotionViews(
            store,
            "train",
            cameras=OrbitRig(),
            framing=Framing(),
            rules=IndexRules(1.0, 9.0, keep_long=True),
            fps=FPS,
            windows=windows,
        )

    shared = FreeWindows(8.0, 9.0)
    first, second = (build(store, shared) for store in stores)
    assert len(first[0, 1]["joints3d"]) > 70
    assert torch.equal(second[0, 1]["joints3d"], build(stores[1], FreeWindows(8.0, 9.0))[0, 1]["joints3d"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_seconds": 3.0, "max_seconds": 2.0}, "0 < min <= max"),
        ({"tempo": 0.5}, "tempo is 0.5"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FreeWindows(**settings)

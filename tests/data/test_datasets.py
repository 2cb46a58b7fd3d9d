"""Items of projected motion: content, randomness, mirroring, windows, text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hmr4d.camera.orbit_rigs import OrbitRig, SingleCamera
from hmr4d.data.clip_index import IndexRules
from hmr4d.data.datasets import Framing, MotionViews, resample_linear
from hmr4d.data.store import MotionStore
from hmr4d.data.store_writer import Caption
from hmr4d.motion.canonical import face_first_frame, mirror
from hmr4d.representation.root_velocity import to_root_velocity
from hmr4d.representation.views import OrthographicViews
from hmr4d.utils.randomness import ItemRandom
from tests.data.tiny_store import write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> MotionStore:
    return write_store(
        tmp_path_factory.mktemp("datasets") / "store",
        {"a": 50, "b": 60, "c": 260, "d": 40},
        {"b": [Caption("b turns left"), Caption("b turns"), Caption("b spins")]},
        labels={"a": {"style": "calm"}, "b": {"style": "calm"}, "c": {"style": "calm"}, "d": {"style": "wild"}},
        text_cache=True,
    )


def views(store: MotionStore, **changes: Any) -> MotionViews:
    settings: dict[str, Any] = {"cameras": OrbitRig(), "framing": Framing(), "rules": IndexRules(), "fps": 20.0}
    return MotionViews(store, "train", **(settings | changes))


def same_items(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return set(first) == set(second) and all(
        torch.equal(value, second[key]) if isinstance(value, torch.Tensor) else value == second[key]
        for key, value in first.items()
    )


def test_shapes(store: MotionStore) -> None:
    dataset = views(store, text_encoder="hash")
    assert len(dataset) == 3
    item = dataset[0]
    shapes = {key: tuple(value.shape) for key, value in item.items() if isinstance(value, torch.Tensor)}
    assert shapes == {
        "joints2d": (4, 50, 22, 2),
        "conf": (50, 22),
        "joints3d": (50, 22, 3),
        "T_w2c": (4, 4, 4),
        "K": (4, 3, 3),
        "cam": (4, 5),
        "elevation_cam": (4,),
        "text_tokens": (8, 6),
        "text_pooled": (6,),
    }
    assert (item["length"], item["text"], item["is_perspective"]) == (50, "a waves with the left hand", False)
    assert dataset.num_frames(1) == 60


def test_an_item_depends_on_index_and_seed_alone(store: MotionStore) -> None:
    dataset, again = views(store, seed=3), views(store, seed=3)
    torch.manual_seed(1)
    first = [dataset[i] for i in (0, 1, 2)]
    torch.manual_seed(2)
    second = [again[i] for i in (2, 1, 0)][::-1]
    assert all(same_items(a, b) for a, b in zip(first, second, strict=True))
    assert same_items(dataset[1, 77], again[1, 77])
    assert not torch.allclose(dataset[1, 77]["T_w2c"], dataset[1, 78]["T_w2c"])
    assert not torch.allclose(dataset[0]["T_w2c"], views(store, seed=4)[0]["T_w2c"])


def test_global_generators_are_left_alone(store: MotionStore) -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    views(store, mirror_prob=0.5)[0]
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_the_views_are_of_the_motion(store: MotionStore) -> None:
    """Lifting the views gives the local motion back, up to the scale of the box."""
    item = views(store)[0]
    with_root = torch.cat([torch.zeros_like(item["joints2d"][:, :, :1]), item["joints2d"]], 2)
    lifted = OrthographicViews(item["T_w2c"][None]).lift(with_root[None])[0]
    local = to_root_velocity(item["joints3d"])
    scale = (lifted * local).sum() / (local * local).sum()
    assert torch.allclose(lifted, scale * local, atol=1e-5)
    assert scale > 0
    assert item["joints2d"].abs().max() > 1 / 1.2 - 1e-5, "the drawn view fills its box"


def test_whole_box_contains_every_view(store: MotionStore) -> None:
    for index in range(3):
        item = views(store, framing=Framing(box="largest"))[index]
        assert item["joints2d"].abs().max() == pytest.approx(1 / 1.2, abs=1e-5)


def test_fixed_box_keeps_meters(store: MotionStore) -> None:
    for index in range(3):
        item = views(store, framing=Framing(box="fixed", half_extent=0.8))[index]
        with_root = torch.cat([torch.zeros_like(item["joints2d"][:, :, :1]), item["joints2d"]], 2)
        lifted = OrthographicViews(item["T_w2c"][None]).lift(with_root[None])[0]
        assert torch.allclose(lifted * 1.2 * 0.8, to_root_velocity(item["joints3d"]), atol=1e-5)


def test_framing_is_checked_at_once() -> None:
    with pytest.raises(ValueError, match="'round'.*'view', 'largest', 'fixed'"):
        Framing(box="round")
    with pytest.raises(ValueError, match=r"half_extent is -1\.0"):
        Framing(box="fixed", half_extent=-1.0)


def test_single_camera(store: MotionStore) -> None:
    item = views(store, cameras=SingleCamera())[0]
    assert item["joints2d"].shape == (1, 50, 22, 2)
    distance, sine, cosine, scale = item["elevation_cam"]
    assert float(distance) == 4.5
    assert float(sine**2 + cosine**2) == pytest.approx(1.0)
    assert float(scale) == 1.0


def test_perspective_items_carry_the_box_size(store: MotionStore) -> None:
    item = views(store, framing=Framing(is_perspective=True))[0]
    assert item["is_perspective"] is True
    assert torch.equal(item["cam"][:, 4], item["elevation_cam"][3].expand(4))
    assert float(item["elevation_cam"][3]) != 1.0


def test_mirror_of_the_mirror_is_the_motion(store: MotionStore) -> None:
    plain, mirrored = views(store), views(store, mirror_prob=1.0)
    for index in range(3):
        first, second = plain[index], mirrored[index]
        assert torch.equal(mirror(second["joints3d"]), first["joints3d"])
        twin = store.caption_mirror[first["caption"]]
        assert second["caption"] == twin
        assert store.caption_mirror[twin] == first["caption"]
        assert torch.equal(second["T_w2c"], first["T_w2c"]), "augmentation leaves the cameras alone"
    assert views(store, mirror_prob=1.0)[0]["text"] == "a waves with the right hand"


def test_half_of_the_items_are_mirrored(store: MotionStore) -> None:
    dataset = views(store, mirror_prob=0.5)
    mirrored = [dataset[0, seed]["text"].endswith("right hand") for seed in range(200)]
    assert 70 < sum(mirrored) < 130


def test_mirror_without_words_for_it(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", {"a": 50})
    captions = store._captions  # as from a source without mirrored sentences
    captions["mirror"] = [-1] * len(captions["mirror"])
    with pytest.raises(ValueError, match="mirrored version of a caption.*mirror_prob=0"):
        views(store, mirror_prob=1.0)[0]


def test_canonical_items_face_z(store: MotionStore) -> None:
    plain, canonical = views(store)[0], views(store, canonical=True)[0]
    assert torch.allclose(canonical["joints3d"], face_first_frame(plain["joints3d"]), atol=1e-6)


def test_windows_of_long_clips(store: MotionStore) -> None:
    dataset = views(store, rules=IndexRules(keep_long=True))
    long = next(i for i in range(len(dataset)) if dataset.num_frames(i) == 260)
    whole = torch.from_numpy(np.array(store.joints3d(store.index_of["c"])))
    starts = set()
    for seed in range(40):
        joints = dataset[long, seed]["joints3d"]
        assert len(joints) == 200
        start = int((whole[:61, 0] - joints[0, 0]).norm(dim=-1).argmin())
        assert torch.equal(joints, whole[start : start + 200])
        starts.add(start)
    assert len(starts) > 15
    assert {dataset[i]["length"] for i in range(len(dataset))} == {50, 60, 200, 40}


def test_each_caption_gets_its_turn(store: MotionStore) -> None:
    dataset = views(store)
    assert {dataset[1, seed]["text"] for seed in range(40)} == {"b turns left", "b turns", "b spins"}


def test_text_comes_from_the_cache(store: MotionStore) -> None:
    dataset = views(store, text_encoder="hash")
    item = dataset[1, 5]
    cache = store.text_cache("hash")
    assert np.array_equal(item["text_tokens"].numpy(), cache.tokens(item["caption"]).astype(np.float32))
    silent = views(store, text_encoder="hash", is_notext=True)[1, 5]
    assert silent["text"] == ""
    assert np.array_equal(silent["text_pooled"].numpy(), cache.pooled(cache.null_caption))


def test_missing_cache_says_how_to_make_one(store: MotionStore) -> None:
    with pytest.raises(FileNotFoundError, match=r"no text cache of 'clip'.*prepare text"):
        views(store, text_encoder="clip")


def test_no_examples_is_an_error(store: MotionStore) -> None:
    with pytest.raises(ValueError, match="No examples in"):
        views(store, rules=IndexRules(required_text=("swims",)))


def test_balance(store: MotionStore) -> None:
    dataset = views(store)  # two calm clips, one wild one
    assert dataset.balance_weights(1.0) == pytest.approx([1 / 3] * 3)
    assert dataset.balance_weights(0.0) == pytest.approx([0.25, 0.25, 0.5])
    between = dataset.balance_weights(0.5)
    assert between.sum() == pytest.approx(1.0)
    assert 1 / 3 < between[2] < 0.5


def test_balance_of_one_label_comes_before_that_of_cells(tmp_path: Path) -> None:
    kinds = {"a": ("walk", "calm"), "b": ("walk", "calm"), "c": ("walk", "wild"), "d": ("bow", "calm")}
    labels = {name: {"content": content, "style": style} for name, (content, style) in kinds.items()}
    store = write_store(tmp_path / "store", dict.fromkeys(kinds, 50), labels=labels)
    clips = views(store, balance_label="content")
    assert clips.balance_weights(1.0) == pytest.approx([1 / 4] * 4)
    assert clips.balance_weights(0.0) == pytest.approx([1 / 8, 1 / 8, 1 / 4, 1 / 2])
    share = clips.balance_weights(0.5)
    assert share[3] == pytest.approx(1 / (1 + 3**0.5))
    assert share[2] / share[0] == pytest.approx(2**0.5)


def test_balance_of_an_unknown_label_names_the_known_ones(store: MotionStore) -> None:
    with pytest.raises(ValueError, match=r"no label 'mood' to balance; it has .*'style'"):
        views(store, balance_label="mood").balance_weights(0.5)


def test_emphasis_multiplies_the_draws_of_a_label_value(store: MotionStore) -> None:
    assert views(store, emphasis={"wild": 3}).balance_weights(1.0) == pytest.approx([1 / 5, 1 / 5, 3 / 5])
    for wrong in ({"unknown": 2}, {"wild": 0}):
        with pytest.raises(ValueError, match=r"Give a factor above 0 and a label value of the training clips"):
            views(store, emphasis=wrong).balance_weights(1.0)


def test_resampling_is_linear_and_keeps_the_ends() -> None:
    time = torch.arange(10.0)[:, None, None] * torch.ones(1, 22, 3)
    dense = resample_linear(time, 1.5)
    assert len(dense) == 15
    assert torch.allclose(dense[:, 0, 0], torch.linspace(0, 9, 15))
    assert resample_linear(time, 1.0) is time


@pytest.mark.parametrize("fps", [10.0, 20.0, 30.0])
def test_frame_rate_of_items(store: MotionStore, fps: float) -> None:
    dataset = views(store, fps=fps)
    for index in range(3):
        assert dataset[index]["length"] == dataset.num_frames(index) == int(len(dataset[index]["joints3d"]))
        assert dataset.num_frames(index) == int((50, 60, 40)[index] * fps / 20)


def test_items_from_given_generators(store: MotionStore) -> None:
    dataset = views(store)
    assert same_items(dataset.item(1, ItemRandom.from_seed(8)), dataset[1, 8])

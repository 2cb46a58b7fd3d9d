"""Dataset items from the small HumanML3D-like folder, drawn from the recorded seeds.

Text features for the evaluator (word vectors, parts of speech) belong to the evaluation and are not compared here.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hmr4d.camera.orbit_rigs import OrbitRig, SingleCamera
from hmr4d.data.clip_index import IndexRules
from hmr4d.data.datasets import Framing, MotionViews
from hmr4d.data.importers.humanml3d import import_humanml3d
from hmr4d.data.store import MotionStore
from hmr4d.diffusion.schedule import NoiseSchedule
from hmr4d.methods.motion2to3.denoiser import MotionDenoiser
from hmr4d.methods.motion2to3.pipeline import Motion2to3Pipeline
from hmr4d.nn.text import HashTextEncoder
from hmr4d.representation.motion2d import Motion2DCodec
from hmr4d.utils.randomness import ItemRandom
from tests.golden.vectors import arrays, assert_close, golden_file, groups, read_json, seed, tensors

PUBLISHED_RULES = IndexRules(min_seconds=2.0, max_seconds=10.0)
ORTHOGRAPHIC = Framing()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> MotionStore:
    source = golden_file("motion2to3/fake_hml3d")
    out: Path = tmp_path_factory.mktemp("golden_store") / "store"
    import_humanml3d(source, out)
    return MotionStore.open(out)


def generators(first: int, index: int) -> ItemRandom:
    """Both streams seeded alike, as the recording did before each item."""
    number = seed() + first + index
    return ItemRandom(random.Random(number), torch.Generator().manual_seed(number))


def views(store: MotionStore, split: str, cameras: SingleCamera | OrbitRig, framing: Framing) -> MotionViews:
    return MotionViews(store, split, cameras=cameras, framing=framing, rules=PUBLISHED_RULES, fps=30.0)


def check_item(name: str, item: dict, prefix: str) -> None:
    """Compares an item with all recorded arrays that have a name of ours; the recording is zero-padded."""
    numbers, everything = tensors(name), arrays(name)
    length = int(numbers[f"{prefix}/length"])
    assert item["length"] == length
    assert item["text"] == str(everything[f"{prefix}/text"])
    assert item["is_perspective"] == bool(everything[f"{prefix}/is_pinhole"])

    def compare(key: str, ours: Tensor) -> None:
        assert_close(f"{name} {key}", ours, numbers[f"{prefix}/{key}"])

    def compare_padded(key: str, ours: Tensor, axis: int) -> None:
        recorded = numbers[f"{prefix}/{key}"]
        padding = list(ours.shape)
        padding[axis] = recorded.shape[axis] - ours.shape[axis]
        assert ours.shape[axis] == length
        assert_close(f"{name} {key}", torch.cat([ours, ours.new_zeros(padding)], axis), recorded)

    compare_padded("gt_motion", item["joints3d"], 0)
    if f"{prefix}/T_w2c" in numbers:
        compare_padded("gt_motion2d", item["joints2d"], 1)
        compare("cam_emb", item["cam"])
        compare("2d_cam_emb", item["elevation_cam"])
        compare("T_w2c", item["T_w2c"])
        compare("Ks", item["K"])
    else:
        compare_padded("gt_motion2d", item["joints2d"][0], 0)
        compare("cam_emb", item["elevation_cam"])
        assert (numbers[f"{prefix}/mask"] == 1).all()
        assert (item["conf"] == 1).all()


def check_index(dataset: MotionViews, name: str) -> None:
    """The same examples in the same order, with the same captions."""
    texts = dataset.store.caption_texts
    ours = [[dataset.store.names[e.clip], e.start, e.end, [texts[c] for c in e.captions]] for e in dataset.examples]
    published = [[clip, start, end, [c["caption"] for c in captions]] for clip, start, end, captions in read_json(name)]
    assert ours == published


def recorded_views(name: str) -> int:
    """Number of cameras of the first recorded item; a recording may hold some items only."""
    recorded = arrays(name)
    return len(recorded[f"{groups(recorded)[0]}/T_w2c"])


def check_items(dataset: MotionViews, name: str, first: int) -> None:
    prefixes = groups(arrays(name))
    assert 0 < len(prefixes) <= len(dataset)
    for prefix in prefixes:
        check_item(name, dataset.item(int(prefix), generators(first, int(prefix))), prefix)


def test_single_view_items(store: MotionStore) -> None:
    dataset = views(store, "train_val", SingleCamera(), ORTHOGRAPHIC)
    check_index(dataset, "motion2to3/dataset_2d_meta.json")
    check_items(dataset, "dataset_2d.npz", 1000)


@pytest.mark.parametrize(("part", "split"), [("train", "train_val"), ("test", "test")])
def test_multi_view_items(store: MotionStore, part: str, split: str) -> None:
    name = f"dataset_mv_{part}.npz"
    dataset = views(store, split, OrbitRig(num_views=recorded_views(name)), ORTHOGRAPHIC)
    check_index(dataset, f"motion2to3/dataset_mv_{part}_meta.json")
    check_items(dataset, name, 2000)


def test_pinhole_items(store: MotionStore) -> None:
    """Random views at one random elevation, absolute cameras that carry the size of the drawn view's box."""
    name = "dataset_mv_pinhole.npz"
    cameras = OrbitRig(num_views=recorded_views(name), is_uniform=False, elevation=None)
    dataset = views(store, "train_val", cameras, Framing(is_perspective=True, relative_cameras=False))
    check_items(dataset, name, 4000)


def test_new_text_cameras() -> None:
    """What sampling from a prompt alone is conditioned on; the recorded prompts are found in the list by their text."""
    name = "dataset_newtext.npz"
    prompts, recorded = read_json("motion2to3/newtext_prompts.json"), tensors(name)
    codec = Motion2DCodec("all_200h_nr")
    sizes = {"dim": 8, "ff_dim": 8, "num_layers": 1, "num_heads": 1, "text_dim": 4, "cam_dim": 5}
    pipeline = Motion2to3Pipeline(
        MotionDenoiser(num_features=codec.num_features, **sizes, use_views=True),
        codec,
        NoiseSchedule(),
        text_encoder=HashTextEncoder(4),
        rig=OrbitRig(num_views=recorded_views(name)),
        fps=30.0,
    )
    for prefix in groups(arrays(name)):
        text = str(arrays(name)[f"{prefix}/text"])
        matches = []
        for index in (i for i, prompt in enumerate(prompts) if prompt == text):
            conditions = pipeline.text_conditions([text], recorded[f"{prefix}/length"][None], [generators(3000, index)])
            if torch.allclose(conditions.T_w2c[0], recorded[f"{prefix}/T_w2c"], atol=1e-4):
                matches.append(conditions)
        assert len(matches) == 1, f"prompt {text!r}: no list position gives the recorded cameras"
        assert_close(f"{name} T_w2c", matches[0].T_w2c[0], recorded[f"{prefix}/T_w2c"])
        assert_close(f"{name} Ks", matches[0].K[0], recorded[f"{prefix}/Ks"])
        assert_close(f"{name} cam_emb", matches[0].cam[0], recorded[f"{prefix}/cam_emb"])

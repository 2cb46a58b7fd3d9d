"""Evaluators of 2D keypoints: their features, and their training from a 2D store to a released folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from hmr4d.data.clip_index import IndexRules
from hmr4d.data.datamodule import MotionDataModule
from hmr4d.data.keypoint_clips import flip_keypoints
from hmr4d.data.store import KeypointStore
from hmr4d.engine.evaluator_release import release_evaluator
from hmr4d.evaluators.evaluator import Evaluator, EvaluatorRecipe, build_networks
from hmr4d.evaluators.features_data import CaptionedFeatures, Crop, FeatureWindows, open_features
from hmr4d.evaluators.objectives import AllPairs
from hmr4d.evaluators.text_input import TokenStateInput
from hmr4d.evaluators.training import DecompositionTraining, FittingOptions, MatchingTraining
from hmr4d.nn.text import HashTextEncoder
from hmr4d.representation.keypoint_features import VARIANTS, keypoint_features
from hmr4d.utils.randomness import ItemRandom
from tests.data.tiny_keypoints import SIZE, track_tensor, write_keypoint_store
from tests.data.tiny_store import write_store
from tests.evaluators.tiny_keypoint_evaluator import keypoint_evaluator

RECIPE = keypoint_evaluator().recipe
FITTING = FittingOptions(partial(torch.optim.Adam, lr=1e-3), feature_bias=1.0)
RULES = IndexRules(min_seconds=2.0, max_seconds=10.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> KeypointStore:
    return write_keypoint_store(tmp_path_factory.mktemp("stores") / "2d", 8)


def fit(module: pl.LightningModule, data: pl.LightningDataModule, path: Path) -> Path:
    trainer = pl.Trainer(
        max_steps=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(path)
    return path


def test_image_features_depend_on_the_image_position_and_person_features_do_not() -> None:
    keypoints = track_tensor(60)
    image, person = (keypoint_features(keypoints, variant) for variant in VARIANTS)
    wanted = (keypoints[:, :-1, :2] - torch.tensor(SIZE) / 2) / (max(SIZE) / 2)
    assert torch.allclose(image.unflatten(1, (17, 2)), wanted, atol=1e-6)
    moved = keypoints.clone()
    moved[:, :-1, :2] = 1.7 * keypoints[:, :-1, :2] + torch.tensor([30.0, -60.0])
    assert torch.allclose(keypoint_features(moved, "coco17_person"), person, atol=1e-4)
    assert not torch.allclose(keypoint_features(moved, "coco17_image"), image, atol=0.01)
    heights = person.unflatten(1, (17, 2))[..., 1]
    assert float((heights.amax(1) - heights.amin(1)).median()) == pytest.approx(2.0, abs=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_keypoints_of_low_confidence_have_no_effect(variant: str) -> None:
    keypoints = track_tensor(60)
    clean = keypoint_features(keypoints, variant)
    damaged = keypoints.clone()
    damaged[20, 3] = torch.tensor([9000.0, 9000.0, 0.1])
    damaged[21, 3] = torch.tensor([float("nan"), float("nan"), 0.0])
    assert torch.allclose(keypoint_features(damaged, variant), clean, atol=0.02)
    never = keypoints.clone()
    never[:, 3, 2] = 0.0
    assert keypoint_features(never, variant).isfinite().all()
    keypoints[:, :-1, 2] = 0.0
    with pytest.raises(ValueError, match="No keypoint"):
        keypoint_features(keypoints, variant)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_flipped_image_gives_mirrored_features(variant: str) -> None:
    keypoints = track_tensor(60)
    rows = keypoint_features(keypoints, variant).unflatten(1, (17, 2))
    flipped = keypoint_features(flip_keypoints(keypoints), variant).unflatten(1, (17, 2))
    order = [0, *(n + 1 if n % 2 else n - 1 for n in range(1, 17))]
    assert torch.allclose(flipped, rows[:, order] * torch.tensor([-1.0, 1.0]), atol=1e-5)


def test_items_come_from_the_store_and_its_mirror_image(store: KeypointStore) -> None:
    data = CaptionedFeatures(
        store, "train", variant="coco17_person", rules=RULES, crop=Crop(max_rows=120), fps=30.0, mirror_prob=0.5
    )
    items = [data[(0, seed)] for seed in range(8)]
    assert {item["text"].split()[4] for item in items} == {"left", "right"}
    for item in items:
        assert item["features"].shape == (item["length"], 34) and item["length"] % 4 == 0
    source = open_features(store, "train", variant="coco17_person", fps=30.0, mirror_prob=0.0)
    rows, _ = source.draw(0, ItemRandom.from_seed(0))
    assert len(rows) == store.lengths[0] and np.isfinite(rows).all()


def test_an_evaluator_of_keypoints_is_trained_and_released(store: KeypointStore, tmp_path: Path) -> None:
    windows = partial(FeatureWindows, store, "train", variant="coco17_person", fps=30.0, window=60, mirror_prob=0.5)
    torch.manual_seed(0)
    first = fit(
        DecompositionTraining(RECIPE, FITTING),
        MotionDataModule(train=windows, batch_size=4, bucket=1),
        tmp_path / "first.ckpt",
    )
    clips = partial(CaptionedFeatures, store, "train", variant="coco17_person", rules=RULES, crop=Crop(max_rows=120),
                    fps=30.0, mirror_prob=0.5)  # fmt: skip
    module = MatchingTraining(
        RECIPE, FITTING, text_input=TokenStateInput("hash", 32, encoder=HashTextEncoder()), objective=AllPairs()
    )
    module.load_start(first)
    second = fit(module, MotionDataModule(train=clips, batch_size=4, bucket=1), tmp_path / "second.ckpt")
    about = {"data": "tiny_2d", "source": "test", "licence": "none", "commands": [], "hardware": "none", "torch": "2",
             "losses": {}}  # fmt: skip
    release_evaluator(second, tmp_path / "evaluator-tiny", about, "made up")
    evaluator = Evaluator.load(tmp_path / "evaluator-tiny")
    assert evaluator.recipe.variant == "coco17_person" and evaluator.statistics.mean.shape == (34,)
    assert "34 numbers" in (tmp_path / "evaluator-tiny" / "README.md").read_text("utf-8")
    rows = evaluator.statistics.normalize(torch.from_numpy(windows()[0]["features"].numpy()))
    padded = torch.nn.functional.pad(rows, (0, 0, 0, 60))
    assert evaluator.embed_motions(padded[None], torch.tensor([60])).shape == (1, 8)


def test_the_published_sizes_have_the_published_number_of_parameters() -> None:
    recipe = EvaluatorRecipe(variant="coco17_image", fps=30.0, max_rows=300)
    with torch.device("meta"):
        networks = build_networks(recipe)
    assert sum(p.numel() for network in networks for p in network.parameters()) == 21_229_760


def test_features_of_the_wrong_kind_of_store_are_refused(store: KeypointStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need 3D motion"):
        open_features(store, "train", variant="humanml3d", fps=20.0, mirror_prob=0.0)
    motion = write_store(tmp_path / "3d", {"a": 60})
    with pytest.raises(ValueError, match="need 2D keypoints"):
        open_features(motion, "train", variant="coco17_image", fps=30.0, mirror_prob=0.0)
    with pytest.raises(ValueError, match="30 frames per second, the features have 20"):
        open_features(store, "train", variant="coco17_image", fps=20.0, mirror_prob=0.0)
    with pytest.raises(ValueError, match="have neither root nor contacts"):
        open_features(store, "train", variant="coco17_image", fps=30.0, mirror_prob=0.0).statistics(5.0)

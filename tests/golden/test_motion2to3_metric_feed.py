"""From joints to evaluator input and embeddings as the published model's callback makes them."""

from __future__ import annotations

import shutil
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.data.store_writer import Caption
from hmr4d.engine.compose import compose_config
from hmr4d.engine.run import run
from hmr4d.evaluation.preparation import PublishedModelPreparation, published_placement
from hmr4d.evaluators.evaluator import Evaluator, EvaluatorRecipe, build_networks
from hmr4d.evaluators.published import MATCHING_FILE, translate
from hmr4d.evaluators.text_input import WordBatch
from hmr4d.methods.registry import get_method
from hmr4d.representation.hml263 import load_statistics
from tests.data.tiny_store import write_store
from tests.golden.test_humanml3d_evaluators import NETWORK_TOLERANCE, read_json, seeded_weights
from tests.golden.vectors import assert_close, golden_file

FPS = 30.0
NETWORKS = ("text_encoder", "movement_encoder", "motion_encoder")  # order of the seeds
FEATURES_ATOL = 5e-5  # of features that are not normalised; the README of the vectors asks for it


@lru_cache(maxsize=4)
def read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def raw(features: torch.Tensor) -> torch.Tensor:
    """Normalised features (..., D) in their own units: deviations of some channels are 2000 times smaller than 1."""
    statistics = load_statistics("hml263_evaluator")
    std, mean = (torch.as_tensor(v)[: features.shape[-1]] for v in (statistics.std, statistics.mean))
    return features * std + mean


@pytest.mark.parametrize("which", ["pred", "gt"])
def test_metric_feed(which: str) -> None:
    data = read(golden_file("motion2to3/metric_feed.npz"))
    joints3d = torch.from_numpy(data["pred_global_motion" if which == "pred" else "gt_motion"])
    lengths = torch.from_numpy(data["length"])
    assert_close(f"placed {which}", published_placement(joints3d, lengths), data[f"saved_{which}"])
    preparation = PublishedModelPreparation(load_statistics("hml263_evaluator"))
    encoded = preparation.encode([m[:n] for m, n in zip(joints3d, lengths, strict=True)], FPS)
    fed = preparation.cut(encoded, [None] * len(joints3d))
    wanted = torch.from_numpy(data[f"fed_{which}_vec259_sorted"])
    order = (fed.num_rows // 4).argsort(descending=True, stable=True)
    assert (fed.num_rows[order] // 4).tolist() == data["fed_m_lens_sorted"].tolist()
    assert_close(f"fed {which}", raw(fed.features[order][..., : wanted.shape[-1]]), raw(wanted), atol=FEATURES_ATOL)


def test_eval_batch() -> None:
    data = read(golden_file("humanml3d/m2t3_eval_batch.npz"))
    preparation = PublishedModelPreparation(load_statistics("hml263_evaluator"))
    lengths = torch.from_numpy(data["length"])
    motions = torch.from_numpy(data["pred_global_motion"])
    encoded = preparation.encode([m[:n] for m, n in zip(motions, lengths, strict=True)], FPS)
    fed = preparation.cut(encoded, [None] * len(motions))
    assert encoded.num_rows.tolist() == data["ori_length"].tolist()
    assert (fed.num_rows // 4).tolist() == data["m_lens"].tolist()
    stored = len(data["pred_ayfz_floor"])
    assert_close("placed", published_placement(motions, lengths)[:stored], data["pred_ayfz_floor"])
    for row in range(len(data["pred_resampled20"])):
        length = len(encoded.joints3d[row])
        assert_close("resampled", encoded.joints3d[row], data["pred_resampled20"][row, :length])
    wanted = torch.from_numpy(data["pred_vec_normed"]).transpose(1, 2)
    assert_close("features", raw(fed.features[: len(wanted)]), raw(wanted), atol=FEATURES_ATOL)


def test_eval_batch_embeddings() -> None:
    """Joints and captions to embeddings, all the way; the vectors are in the order of `align_m_idx`."""
    data = {k: torch.from_numpy(v) for k, v in read(golden_file("humanml3d/m2t3_eval_batch.npz")).items()}
    networks, shapes = build_networks(EvaluatorRecipe()), read_json("state_dict_shapes.json")
    for name, seed in zip(NETWORKS, data["seeds"].tolist(), strict=True):
        network = getattr(networks, name)
        network.load_state_dict(translate(seeded_weights(shapes[name], seed), type(network)))
    evaluator = Evaluator(EvaluatorRecipe(), load_statistics("hml263_evaluator"), networks=networks)
    preparation, order = PublishedModelPreparation(evaluator.statistics), data["align_m_idx"]
    for name, key in (("gen", "pred_global_motion"), ("gt", "gt_motion")):
        motions = [m[:n] for m, n in zip(data[key], data["length"], strict=True)]
        fed = preparation.cut(preparation.encode(motions, FPS), [None] * len(motions))
        embedded = evaluator.embed_motions(*fed, padded_rows=preparation.max_rows)
        assert_close(f"{name}_emb", embedded[order], data[f"{name}_emb"], NETWORK_TOLERANCE)
    onehot = torch.nn.functional.one_hot(data["pos_onehot"], evaluator.recipe.pos_dim)
    texts = evaluator.embed_words(WordBatch(data["word_embs"], data["text_len"], onehot))
    assert_close("text_emb", texts[order], data["text_emb"], NETWORK_TOLERANCE)


@pytest.mark.slow
def test_published_command_from_files_to_card(tmp_path: Path) -> None:
    """Store, word vectors, evaluator and weights in their published places and layouts; the network is a tiny one."""
    inputs, frames = tmp_path / "inputs", {f"clip{n:02d}": 45 + n for n in range(34)}
    captions = {name: [Caption(f"a person walks {name}", ("a/DET", "person/NOUN", "walk/VERB"))] for name in frames}
    write_store(inputs / "humanml3d", frames, captions, splits=dict.fromkeys(frames, "test"))
    evaluator = inputs / "checkpoints" / "t2m" / MATCHING_FILE
    evaluator.parent.mkdir(parents=True)
    shapes = read_json("state_dict_shapes.json")
    torch.save({name: seeded_weights(shapes[name], seed) for seed, name in enumerate(NETWORKS)}, evaluator)
    shutil.copytree(golden_file("motion2to3/fake_glove"), inputs / "checkpoints" / "glove")
    cfg = compose_config(
        [
            "exp=mas/video_motion2dmv_nr/mdm_test",
            "global/task=motion2dmv/single_test2dmv_nr",
            "text=hash",
            "network=32x2",
            f"paths.inputs={inputs}",
            f"paths.outputs={tmp_path}",
            f"ckpt_path={tmp_path / 'm.ckpt'}",
            "trainer.accelerator=cpu",
            "+trainer.enable_progress_bar=false",
            "pipeline.sampling.num_inference_steps=2",
        ]
    )
    weights = {
        f"pipeline.denoiser.{k}": v for k, v in get_method("motion2to3").build(cfg).denoiser.state_dict().items()
    }
    torch.save({"state_dict": weights}, tmp_path / "m.ckpt")
    (card,) = run(cfg)
    assert (card.protocol, card.evaluator, card.set_size) == ("published_model", "humanml3d", len(frames))
    assert card.statistics_hash == load_statistics("hml263_evaluator").hash
    assert (tmp_path / "HumanML3D_2dmotionmv_nr" / "mdm-test" / "card.md").is_file()

"""Task test: motions are saved as they are made, scored from the files, and never made twice."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from omegaconf import DictConfig, OmegaConf

from hmr4d.engine.compose import compose_config
from hmr4d.engine.run import run
from hmr4d.evaluation.callbacks import metric_t2m
from hmr4d.evaluation.callbacks.metric_t2m import MetricT2M
from hmr4d.evaluation.cards import GENERATED, GROUND_TRUTH, ResultCard
from hmr4d.evaluation.generations import GenerationFolder
from hmr4d.evaluation.text_to_motion_data import Job
from hmr4d.evaluation.text_to_motion_test import evaluator_files
from hmr4d.evaluators.evaluator import Evaluator
from hmr4d.export.motion_npz import load_motion_npz
from hmr4d.methods.registry import get_method
from hmr4d.motion.motion import MotionBatch
from hmr4d.representation.hml263 import load_statistics
from tests.data.tiny_store import write_store
from tests.evaluators.tiny_evaluator import RECIPE

COUNT, REPEATS, VARIED, SAMPLES = 34, 2, 1, 3
JOBS = REPEATS * (COUNT + VARIED * (SAMPLES - 1))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inputs folder: a store, weights of a tiny network, a small evaluator, all untrained."""
    folder = tmp_path_factory.mktemp("inputs")
    frames = {f"clip{n:02d}": 30 + n % 7 for n in range(COUNT)}
    write_store(folder / "bandai_namco", frames, splits=dict.fromkeys(frames, "test"), text_cache=False)
    torch.manual_seed(0)
    recipe = replace(RECIPE, name="small")
    statistics = replace(load_statistics("hml263_evaluator"), variant="corrected_hips")
    Evaluator(recipe, statistics).save(folder / "checkpoints" / "hmr4d" / "evaluator-bandai")
    for seed, name in enumerate(("model", "other")):
        torch.manual_seed(seed)
        denoiser = get_method("motion2to3").build(configuration(folder, folder)).denoiser
        state = {f"pipeline.denoiser.{k}": v for k, v in denoiser.state_dict().items()}
        torch.save({"state_dict": state}, folder / f"{name}.ckpt")
    return folder


def configuration(inputs: Path, out: Path, *more: str) -> DictConfig:
    """The test of a tiny network."""
    groups = tuple(word for word in more if word.partition("=")[0].lstrip("+") in ("protocol", "global/append"))
    cfg = composed(inputs, groups).copy()
    for word in (f"output_dir={out}", *(word for word in more if word not in groups)):
        key, _, value = word.partition("=")
        OmegaConf.update(cfg, key, yaml.safe_load(value))
    return cfg


@lru_cache(maxsize=4)
def composed(inputs: Path, groups: tuple[str, ...]) -> DictConfig:
    """Composing takes longer than a test, so that it is done once for each choice of groups."""
    return compose_config(
        [
            "exp=motion2to3/finetune_mv",
            "global/task=text2motion/test",
            "text=hash",
            "network=32x2",
            f"paths.inputs={inputs}",
            f"ckpt_path={inputs / 'model.ckpt'}",
            "trainer.accelerator=cpu",
            "+trainer.enable_progress_bar=false",
            "pipeline.sampling.num_inference_steps=1",
            f"replications={REPEATS}",
            f"multimodality_captions={VARIED}",
            f"multimodality_samples={SAMPLES}",
            *groups,
        ]
    )


@pytest.fixture(autouse=True)
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """One row suffices on all pages but that of the finished test `done`: bodies that follow motions take long."""
    monkeypatch.setattr(metric_t2m, "PAGE_ITEMS", 1)


@pytest.fixture(scope="module")
def done(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a finished test."""
    out = tmp_path_factory.mktemp("done")
    run(configuration(inputs, out))
    return out


def test_card_has_both_rows_and_names_its_source(done: Path) -> None:
    card = ResultCard.read(done / "card.json")
    assert set(card.rows) == {GROUND_TRUTH, GENERATED}
    assert {"fid", "r_precision_top_3", "matching_score", "diversity", "foot_skating"} <= card.rows[GROUND_TRUTH].keys()
    assert {"multimodality", "root_speed_error"} == card.rows[GENERATED].keys() - card.rows[GROUND_TRUTH].keys()
    assert all(value.repeats == REPEATS for row in card.rows.values() for value in row.values())
    assert (card.set_name, card.set_size, card.seed, card.protocol) == ("tiny/test", COUNT, 42, "standard")
    assert (
        card.checkpoint is not None and card.checkpoint.endswith("model.ckpt") and len(card.checkpoint_hash or "") == 64
    )
    assert (done / "card.md").read_text("utf-8") == card.table()
    assert any("pairs" in note for note in card.notes)
    assert len(json.loads((done / "items.json").read_text("utf-8"))) == REPEATS * COUNT


def test_a_page_shows_generated_next_to_recorded_motion(done: Path) -> None:
    items = json.loads((done / "items.json").read_text("utf-8"))
    text = (done / "comparison.html").read_text("utf-8")
    data = json.loads(text.split('id="data">', 1)[1].split("</script>", 1)[0])
    assert [entry["motions"] for entry in data["entries"]] == [[2 * n, 2 * n + 1] for n in range(12)]
    assert all(e["caption"].startswith(i["text"]) for e, i in zip(data["entries"], items, strict=False))
    assert [m["caption"] for m in data["motions"][:2]] == ["generated", "recorded"]
    for item, generated, recorded in zip(items, data["motions"][::2], data["motions"][1::2], strict=False):
        assert recorded["joints"]["rows"] / recorded["fps"] == pytest.approx(item["seconds"], abs=0.06)
        assert generated["joints"]["rows"] / generated["fps"] >= item["seconds"] - 0.06


def test_the_card_follows_from_the_saved_embeddings(done: Path) -> None:
    card, saved = ResultCard.read(done / "card.json"), np.load(done / "embeddings.npz")
    assert all(saved[name].shape == (REPEATS, COUNT, 8) for name in ("text", "generated", "real", "another"))
    for name, row in (("generated", GENERATED), ("real", GROUND_TRUTH)):
        scores, distances = [], []
        for repeat in range(REPEATS):
            order = np.random.RandomState(42 + repeat).permutation(COUNT)
            text, motion, other = (saved[k][repeat].astype(np.float64) for k in ("text", name, "another"))
            pools = order[: COUNT // 32 * 32].reshape(-1, 32)
            far = np.linalg.norm(text[pools][:, :, None] - motion[pools][:, None], axis=-1)
            scores.append(np.mean((far < np.diagonal(far, axis1=1, axis2=2)[..., None]).sum(-1) < 3))
            a, b = np.cov(other.T), np.cov(motion.T)
            root = np.sqrt(np.linalg.eigvals(a @ b).astype(complex)).real.sum()
            shift = other.mean(0) - motion.mean(0)
            distances.append(shift @ shift + np.trace(a) + np.trace(b) - 2 * root)
        assert card.rows[row]["r_precision_top_3"].mean == pytest.approx(np.mean(scores), abs=1e-9)
        assert card.rows[row]["fid"].mean == pytest.approx(np.mean(distances), rel=1e-4, abs=1e-6)


def test_an_interrupted_test_generates_missing_motions_and_gives_the_same_card(
    done: Path, inputs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    shutil.copytree(done, out)
    (out / "card.json").unlink()
    folder = GenerationFolder(out / "generations")
    files = sorted(folder.folder.rglob("*.npz"))
    assert len(files) == JOBS
    lost = [*files[3:9], folder.path(Job(1, 5))]
    before = {path: path.stat().st_mtime_ns for path in files}
    for path in lost:
        path.unlink()
    run(configuration(inputs, out, "data.test_batch_size=3"))
    made = {path for path in files if path.stat().st_mtime_ns != before[path]}
    assert made == set(lost)
    for path in lost:  # the batch around a motion changes rounding alone
        first = load_motion_npz(done / "generations" / path.relative_to(folder.folder))
        np.testing.assert_allclose(load_motion_npz(path).joints3d, first.joints3d, atol=1e-4)
    got, wanted = (ResultCard.read(place / "card.json").rows[GENERATED] for place in (out, done))
    assert got["diversity"].mean == pytest.approx(wanted["diversity"].mean, rel=1e-3)


def test_saved_motions_are_scored_again_without_the_model(
    done: Path, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hmr4d.evaluation.text_to_motion_test.build", lambda cfg: pytest.fail("the model was built"))
    (card,) = run(configuration(inputs, tmp_path, f"score_only={done / 'generations'}"))
    assert card.rows == ResultCard.read(done / "card.json").rows
    (card,) = run(configuration(inputs, done))  # nothing is missing, so nothing is built either
    assert card.rows == ResultCard.read(done / "card.json").rows


def test_motions_of_other_weights_are_refused_unless_accepted(done: Path, inputs: Path, tmp_path: Path) -> None:
    other = [f"ckpt_path={inputs / 'other.ckpt'}"]
    with pytest.raises(FileExistsError, match=r"motions of another test \(weights is .*output_dir="):
        run(configuration(inputs, done, *other))
    scored = [*other, f"score_only={done / 'generations'}", "seed=1"]
    with pytest.raises(ValueError, match=r"not made for this test: weights is .*clips\.seed is 42, not 1"):
        run(configuration(inputs, tmp_path, *scored))
    scored += ["accept_mismatch=true", "multimodality_captions=0"]  # another seed varies other captions
    (card,) = run(configuration(inputs, tmp_path, *scored))
    assert any("not made for this test" in note for note in card.notes)


def test_external_motions_are_matched_by_their_order(done: Path, inputs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    for path in (done / "generations" / "repeat_00").glob("*_s000.npz"):
        motion = load_motion_npz(path)
        content = {
            "pred": motion.joints3d,
            "text": motion.text,
            "length": torch.tensor(len(motion.joints3d)),
        }
        torch.save(content, folder / f"0_{path.stem}.pth")
    (card,) = run(configuration(inputs, tmp_path / "out", f"score_only={folder}"))
    whole = ResultCard.read(done / "card.json")
    (single,) = run(
        configuration(
            inputs, tmp_path / "one", f"score_only={done / 'generations'}", "replications=1", "multimodality_captions=0"
        )
    )
    assert card.rows == single.rows and "multimodality" not in card.rows[GENERATED]
    assert card.checkpoint == f"motions in {folder}" and card.evaluator_hash == whole.evaluator_hash
    next(folder.glob("*.pth")).unlink()
    with pytest.raises(ValueError, match=f"{COUNT - 1} motions for a test of {COUNT} items"):
        run(configuration(inputs, tmp_path / "out", f"score_only={folder}"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["limit=31"], "31 motions; R-precision ranks pools of 32"),
        (["protocol.rules.min_seconds=0.5"], r"trained on clips of at least 1\.2 s"),
        (["+global/append=empty_callback"], "no callback that scores"),
        (["protocol=published_model", "replications=0"], "repeats is 0"),
    ],
)
def test_invalid_options_are_reported_before_generation_starts(
    more: list[str], message: str, inputs: Path, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match=message):
        run(configuration(inputs, tmp_path, *more))
    assert not list(tmp_path.rglob("*.npz"))


def test_all_missing_files_are_named_at_once(tmp_path: Path) -> None:
    cfg = compose_config(
        [
            "exp=mas/video_motion2dmv_nr/mdm_test",
            "global/task=motion2dmv/single_test2dmv_nr",
            f"paths.inputs={tmp_path}",
            f"paths.outputs={tmp_path}",
        ]
    )
    with pytest.raises(FileNotFoundError) as caught:
        run(cfg)
    names = (
        "store.json",
        "finest.tar",
        "our_vab_data.npy",
        "our_vab_words.pkl",
        "our_vab_idx.pkl",
        "cpurand_best.ckpt",
        "clip-vit-base-patch32",
    )
    assert all(name in str(caught.value) for name in names) and "7 missing file(s)" in str(caught.value)


def test_published_protocol_scores_whole_clips(inputs: Path, tmp_path: Path) -> None:
    (card,) = run(
        configuration(inputs, tmp_path, "protocol=published_model", "replications=1", "multimodality_captions=0")
    )
    assert card.protocol == "published_model" and "r_precision_all_top_10" in card.rows[GENERATED]
    motion = load_motion_npz(tmp_path / "generations" / "repeat_00" / "00003_s000.npz")
    assert len(motion.joints3d) == 33


def test_motion_that_is_not_finite_stops_the_test_and_the_others_are_saved(tmp_path: Path) -> None:
    joints3d = torch.rand(2, 30, 22, 3)
    joints3d[0, 4] = torch.nan
    output = MotionBatch(joints3d=joints3d, lengths=torch.tensor([30, 30]), fps=20.0, text=["bad", "good"])
    batch = {name: torch.tensor([0, 1]) for name in ("repeat", "item", "sample", "seed")}
    metric = MetricT2M(str(tmp_path))
    with pytest.raises(ValueError, match=r"1 motion\(s\) that are not finite, first for repeat 0, item 0 \('bad'\)"):
        metric.save(output, batch)
    assert metric.folder.has(Job(1, 1, 1)) and not metric.folder.has(Job(0, 0, 0))


def test_evaluators_are_found_by_name_or_folder(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HMR4D_INPUTS", str(inputs))
    ours = inputs / "checkpoints" / "hmr4d" / "evaluator-bandai"
    for name, glove, wanted in (
        ("evaluator-bandai", None, [ours / "evaluator.json"]),
        (str(ours), "words", [ours / "evaluator.json"]),
        ("gone", None, [Path("gone/evaluator.json")]),
    ):
        assert evaluator_files(OmegaConf.create({"evaluator": name, "glove": glove})) == wanted
    published = evaluator_files(OmegaConf.create({"evaluator": "humanml3d", "glove": None}))
    assert published[0] == inputs / "checkpoints" / "t2m" / "text_mot_match" / "model" / "finest.tar"
    assert [path.parent for path in published[1:]] == [inputs / "checkpoints" / "glove"] * 3

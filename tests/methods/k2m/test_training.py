"""The four trainings from their configurations, on a 2D store, and the model that comes of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmr4d.cli.generate import main as generate
from hmr4d.cli.lift import main as lift
from hmr4d.data.importers.render2d import render_store
from hmr4d.data.importers.synthetic import import_synthetic
from hmr4d.data.store import KeypointStore
from hmr4d.data.token_clips import TokenCache
from hmr4d.engine.compose import compose_config
from hmr4d.engine.release import ReleaseRequest, release
from hmr4d.engine.run import run
from hmr4d.evaluation.callbacks import metric_t2m
from hmr4d.export.motion_npz import load_motion_npz
from hmr4d.methods.registry import load_released
from tests.data.tiny_keypoints import write_keypoint_store
from tests.evaluators.tiny_keypoint_evaluator import tiny_evaluator

PARTS = ("tokenizer", "masked", "residual", "length")
LIFT = Path(__file__).resolve().parents[3] / "docs" / "examples" / "lift"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Output folders of the four trainings, by part, and of the store."""
    folder = tmp_path_factory.mktemp("k2m")
    import_synthetic(folder / "3d", num_clips=12)
    render_store(folder / "3d", folder / "2d", views=1)
    found = {"store": folder / "2d"}
    for part in PARTS:
        words = [f"exp=k2m/{part}_tiny", "text=hash", f"keypoint_store={folder / '2d'}", f"paths.inputs={folder}"]
        words += [f"paths.outputs={folder / 'out'}", "+trainer.enable_progress_bar=false"]
        if part != "tokenizer":
            words.append(f"tokenizer_path={found['tokenizer'] / 'checkpoints' / 'last.ckpt'}")
        cfg = compose_config(words)
        run(cfg)
        found[part] = Path(cfg.output_dir)
    return found


def losses(folder: Path) -> list[float]:
    with (folder / "csv" / "metrics.csv").open(newline="") as stream:
        return [float(row["train/loss_step"]) for row in csv.DictReader(stream) if row["train/loss_step"]]


@pytest.mark.parametrize("part", PARTS)
def test_every_part_trains_three_steps(runs: dict[str, Path], part: str) -> None:
    found = losses(runs[part])
    assert len(found) == 3 and np.isfinite(found).all()


def test_tokens_are_cached_once_with_their_mirror_images(runs: dict[str, Path]) -> None:
    store = KeypointStore.open(runs["store"])
    (path,) = store.derived_folder.glob("tokens-*.npz")
    cache = TokenCache(path)
    assert len(cache.tokens(0)) == store.lengths[0] // 4
    assert cache.ids.shape == cache.flipped.shape and (cache.ids >= 0).all()


def test_the_parts_form_a_model_that_generates_motion(runs: dict[str, Path], tmp_path: Path) -> None:
    others = [runs[part] for part in ("masked", "residual", "length")]
    release(ReleaseRequest(runs["tokenizer"], tmp_path / "k2m-toy", parts=others))
    (motion,) = load_released(tmp_path / "k2m-toy", needs="sample").sample(["a person walks"], seconds=2.0)
    assert motion.num_frames == 60 and motion.pose is not None
    with pytest.raises(ValueError, match="needs training runs of tokenizer, masked, residual, length"):
        release(ReleaseRequest(runs["tokenizer"], tmp_path / "k2m-half", parts=others[:1]))


def test_commands_generate_edit_and_lift_motion(runs: dict[str, Path], tmp_path: Path) -> None:
    others = [runs[part] for part in ("masked", "residual", "length")]
    model = release(ReleaseRequest(runs["tokenizer"], tmp_path / "k2m-toy", parts=others))
    words = ["--model", str(model), "--export", "npz,amass", "--out"]
    assert generate(["a person walks", "--seconds", "2", *words, str(tmp_path / "made")]) == 0
    (file,) = (tmp_path / "made").glob("000_a_person_walks.npz")
    made = load_motion_npz(file).provenance.more["tokens"]
    edited = ["a person jumps", "--edit", str(file), "--keep", "0:1s", *words, str(tmp_path / "edited")]
    assert generate(edited) == 0
    (after,) = (tmp_path / "edited").glob("000_a_person_jumps.npz")
    assert load_motion_npz(after).provenance.more["tokens"][:7] == made[:7]
    assert generate([*edited[:3], *words, str(tmp_path / "none")]) == 2  # without --keep
    example = [str(LIFT / "walk.json"), "--camera", str(LIFT / "camera.yaml"), "--fps", "20"]
    assert lift([*example, "--model", str(model), "--out", str(tmp_path / "lifted"), "--overlay", "none"]) == 0
    lifted = load_motion_npz(tmp_path / "lifted" / "walk.npz")
    assert lifted.skeleton.name == "smpl22" and lifted.provenance.more["depth"] == "relative"


def test_the_tokenizer_is_scored_on_clips(runs: dict[str, Path], tmp_path: Path) -> None:
    words = ["exp=k2m/full_tiny", "text=hash", "global/task=k2m/reconstruct", f"keypoint_store={runs['store']}"]
    words += [f"ckpt_path={runs['tokenizer'] / 'checkpoints' / 'last.ckpt'}", f"output_dir={tmp_path}", "split=train"]
    found: dict[str, Any] = run(compose_config([*words, "limit=2"]))
    assert found == json.loads((tmp_path / "reconstruct.json").read_text())
    assert found["clips"] == 2 and 0 < found["height_share"] < 1 and len(found["perplexity"]) == 3


def test_reconstructions_have_a_fid_and_retrieval_next_to_real_clips(runs: dict[str, Path], tmp_path: Path) -> None:
    write_keypoint_store(tmp_path / "2d", 33, split="test")
    evaluator = tiny_evaluator(tmp_path / "evaluator-tiny")
    words = ["exp=k2m/full_tiny", "text=hash", "global/task=k2m/reconstruct", f"keypoint_store={tmp_path / '2d'}"]
    words += [f"ckpt_path={runs['tokenizer'] / 'checkpoints' / 'last.ckpt'}", f"output_dir={tmp_path / 'out'}"]
    found = run(compose_config([*words, f"fid_by={evaluator}"]))["evaluation"]
    assert found["fid"] > 0 and found["reconstructed"]["r_precision_top_1"]["repeats"] == 20
    assert 0 <= found["real"]["r_precision_top_1"]["mean"] <= found["real"]["r_precision_top_3"]["mean"] <= 1


def test_the_model_is_scored_in_the_image_with_twenty_repeats(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metric_t2m, "PAGE_ITEMS", 1)  # bodies that follow motions take long
    write_keypoint_store(tmp_path / "2d", 33, split="test")
    evaluator = tiny_evaluator(tmp_path / "evaluator-tiny")
    parts = ",".join(
        str(runs[part] / "checkpoints" / "last.ckpt") for part in ("tokenizer", "masked", "residual", "length")
    )
    words = [
        "exp=k2m/full_tiny",
        "text=hash",
        "global/task=k2m/test",
        f"ckpt_path=[{parts}]",
        "trainer.accelerator=cpu",
    ]
    words += [f"keypoint_store={tmp_path / '2d'}", f"keypoint_evaluator={evaluator}", f"output_dir={tmp_path / 'out'}"]
    words += ["+trainer.enable_progress_bar=false", "multimodality_captions=0", "pipeline.generation.base.num_steps=1"]
    assert compose_config(words).replications == 20
    (card,) = run(compose_config([*words, "replications=2"]))
    assert card.protocol == "standard_2d" and card.set_size == 33
    assert all(value.repeats == 2 for row in card.rows.values() for value in row.values())
    assert {"fid", "r_precision_top_3", "matching_score", "diversity"} <= card.rows["ground truth"].keys()
    motion = load_motion_npz(tmp_path / "out" / "generations" / "repeat_00" / "00000_s000.npz")
    assert motion.provenance.more["camera"]["size"] == [1280, 720]
    assert "generated" in (tmp_path / "out" / "comparison.html").read_text("utf-8")


def test_a_missing_tokenizer_is_reported(runs: dict[str, Path], tmp_path: Path) -> None:
    words = ["exp=k2m/masked_tiny", "text=hash", f"keypoint_store={runs['store']}", f"output_dir={tmp_path}"]
    with pytest.raises(ValueError, match="No tokenizer is given"):
        run(compose_config(words))

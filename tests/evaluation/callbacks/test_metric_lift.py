"""Task test of lifting: every clip is lifted once, saved, scored from the files, alone or beside other methods."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from hmr4d.data.store import MotionStore
from hmr4d.data.store_writer import Caption, StoreWriter
from hmr4d.engine.compose import compose_config
from hmr4d.engine.run import run
from hmr4d.evaluation.cards import GROUND_TRUTH, LiftingCard
from hmr4d.evaluation.generations import GenerationFolder
from hmr4d.evaluation.lifting_test import evaluation_clips, training_record
from hmr4d.evaluation.text_to_motion_data import Job
from hmr4d.export.motion_npz import load_motion_npz, save_motion_npz
from hmr4d.motion.procedural import synthetic_joints
from tests.data.capture_files import (
    AIST_IGNORED,
    AIST_SEQUENCES,
    RICH_SEQUENCES,
    TILTED,
    walker,
    write_aistpp,
    write_rich,
)
from tests.motions import as_motion

COUNT = 5


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inputs folder: a store of made-up walks and weights of a tiny network, untrained."""
    folder = tmp_path_factory.mktemp("inputs")
    writer = StoreWriter(
        folder / "bandai_namco", name="tiny", source="test", licence="none", notice="made up", settings={}, fps=20.0
    )
    for number in range(COUNT):
        joints3d = synthetic_joints("walk", 34 + 3 * number, np.random.default_rng(number))
        writer.add(f"walk{number}", joints3d.astype(np.float32), split="test")
    writer.finish(annotate=lambda record: [Caption("a walk")], mirror_text=str, tokenize=str.split)
    MotionStore.open(folder / "bandai_namco")
    for seed, name in enumerate(("model", "other")):
        torch.manual_seed(seed)
        network = instantiate(composed(folder, "synthetic", ()).pipeline).denoiser
        state = {f"pipeline.denoiser.{k}": v for k, v in network.state_dict().items()}
        torch.save({"state_dict": state}, folder / f"{name}.ckpt")
    return folder


@lru_cache(maxsize=8)
def composed(inputs: Path, task: str, groups: tuple[str, ...]) -> DictConfig:
    """Composing takes longer than a test, so that it is done once for each choice of groups."""
    return compose_config(
        [
            "exp=mocap2to3/finetune_mv_tiny",
            f"global/task=lift/{task}",
            "network=32x2",
            f"paths.inputs={inputs}",
            f"ckpt_path={inputs / 'model.ckpt'}",
            "trainer.accelerator=cpu",
            "+trainer.enable_progress_bar=false",
            "pipeline.sampling.num_inference_steps=1",
            "pipeline.denoiser.grid=16",
            *groups,
        ]
    )


def configuration(inputs: Path, out: Path, *more: str, task: str = "synthetic") -> DictConfig:
    """A lifting test of a tiny network."""
    groups = tuple(word for word in more if word.partition("=")[0] in ("observation", "representation"))
    cfg = composed(inputs, task, groups).copy()
    for word in (f"output_dir={out}", *(word for word in more if word not in groups)):
        key, _, value = word.partition("=")
        OmegaConf.update(cfg, key, yaml.safe_load(value))
    return cfg


@pytest.fixture(scope="module")
def done(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a finished test of the model and the oracle."""
    out = tmp_path_factory.mktemp("done")
    run(configuration(inputs, out, "method=[oracle,model]", "noise_px=3"))
    return out


def test_the_card_compares_methods_and_names_their_sources(done: Path) -> None:
    card = LiftingCard.read(done / "card.json")
    assert set(card.rows) == set(card.other_rows) == {GROUND_TRUTH, "oracle", "model"}
    assert card.rows[GROUND_TRUTH].keys() == {"jitter_10m_s3", "foot_sliding"}
    oracle, model = (card.rows[row]["abs_mpjpe"] for row in ("oracle", "model"))
    assert oracle.mean is not None and model.mean is not None and 0 < oracle.mean < 60 < model.mean
    assert oracle.repeats == COUNT and oracle.interval is not None and oracle.interval > 0
    assert (card.set_name, card.set_size, card.num_sequences, card.num_views) == ("tiny/test", COUNT, COUNT, 4)
    assert card.num_frames == sum(34 + 3 * n for n in range(COUNT)) and card.fps == 20.0
    assert "model.ckpt, sha256" in card.weights["model"] and "noise_px=3" in card.settings["2D"]
    text = (done / "card.md").read_text("utf-8")
    assert text == card.table() and "Mean over all frames" in text and "Mean over clips" in text


def test_both_means_follow_from_the_saved_motions(done: Path, inputs: Path) -> None:
    card, clips = LiftingCard.read(done / "card.json"), evaluation_clips(configuration(inputs, done), ["model"])
    errors = []
    for item in clips.items:
        lifted = load_motion_npz(done / "lifted" / "model" / "repeat_00" / f"{item:05d}_s000.npz")
        true = clips.clip(item).joints3d.numpy()
        assert lifted.text == clips.clip(item).name
        errors.append(1000 * np.linalg.norm(lifted.joints3d.double().numpy() - true, axis=-1).mean(-1))
    frames, means = np.concatenate(errors), np.array([e.mean() for e in errors])
    assert card.rows["model"]["abs_mpjpe"].mean == pytest.approx(frames.mean(), rel=1e-5)
    assert card.other_rows["model"]["abs_mpjpe"].mean == pytest.approx(means.mean(), rel=1e-5)
    half = 2.7764 * means.std(ddof=1) / np.sqrt(COUNT)  # Student's t of four degrees of freedom
    assert card.other_rows["model"]["abs_mpjpe"].interval == pytest.approx(half, rel=1e-3)
    listed = json.loads((done / "clips.json").read_text("utf-8"))
    assert [entry["mm"]["model"]["abs_mpjpe"] for entry in listed] == pytest.approx(means, abs=1e-3)


def test_an_oracle_without_noise_finds_the_truth(inputs: Path, tmp_path: Path) -> None:
    (card,) = run(configuration(inputs, tmp_path, "method=oracle", "ckpt_path=null", "limit=2"))
    assert card.rows["oracle"]["abs_mpjpe"].mean < 0.1 and card.set_size == 2
    assert any("2 of 5 clips" in note for note in card.notes)


def test_smpl_joints_derived_from_keypoints_are_lifted_and_scored(inputs: Path, tmp_path: Path) -> None:
    options = ("method=[oracle,ground_ray,model]", "limit=2", "keypoints=coco17")
    (card,) = run(configuration(inputs, tmp_path, *options, "noise_px=2"))
    errors = [card.rows[row]["abs_mpjpe"].mean for row in ("oracle", "ground_ray", "model")]
    assert 15 < errors[0] < 40 < errors[1] < 400 and errors[2] > 0  # feet stand at the ankles, mixtures are near
    assert "22 of 'smpl22'" in card.joints and "true of 'coco17' keypoints, with noise_px=2" in card.settings["2D"]
    assert any("'smpl22' joints derived from 'coco17' keypoints" in note for note in card.notes)
    exact = configuration(inputs, tmp_path, "method=oracle", "ckpt_path=null", "limit=2", "noise_px=2")
    with pytest.raises(FileExistsError, match="keypoints"):
        run(exact)


def test_an_interrupted_test_lifts_what_is_missing_in_batches_of_any_size(
    done: Path, inputs: Path, tmp_path: Path
) -> None:
    out, options = tmp_path / "part", ("method=[oracle,model]", "noise_px=3", "data.test_batch_size=2")
    run(configuration(inputs, out, "limit=2", *options))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("repeat_*/*.npz")}
    assert len(before) == 4
    lost = next(iter(sorted(before)))
    lost.unlink()
    run(configuration(inputs, out, *options))
    assert all(path.stat().st_mtime_ns == time for path, time in before.items() if path != lost) and lost.is_file()
    # The batch around a clip changes rounding alone, which an untrained network at 13 m amplifies on some processors;
    # other noise changes it by meters.
    for path in (done / "lifted").rglob("repeat_*/*.npz"):
        again = load_motion_npz(out / path.relative_to(done)).joints3d
        np.testing.assert_allclose(again, load_motion_npz(path).joints3d, atol=0.1)


def test_saved_motions_are_scored_again_without_the_network(
    done: Path, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hmr4d.evaluation.lifting_test.build", lambda cfg: pytest.fail("the model was built"))
    whole = LiftingCard.read(done / "card.json")
    (card,) = run(configuration(inputs, tmp_path, f"score_only={done}", "noise_px=3", "ckpt_path=null"))
    assert card.rows == whole.rows and card.weights == whole.weights
    (card,) = run(configuration(inputs, done, "method=[oracle,model]", "noise_px=3"))  # nothing is missing
    assert card.rows == whole.rows
    other = configuration(inputs, tmp_path, f"score_only={done}", "noise_px=4", "ckpt_path=null")
    with pytest.raises(ValueError, match=r"lifted from other clips: corruption\.noise_px is 3.*accept_mismatch=true"):
        run(other)
    other.accept_mismatch = True
    (card,) = run(other)
    assert any("noise_px is 3" in note for note in card.notes)


def test_external_motions_are_matched_by_their_order(inputs: Path, tmp_path: Path) -> None:
    cfg = configuration(inputs, tmp_path / "out", f"score_only={tmp_path / 'saved'}", "ckpt_path=null")
    clips = evaluation_clips(cfg, ["oracle"])
    for item in clips.items:
        clip = clips.clip(item)
        moved = clip.joints3d + torch.tensor([0.03, 0.0, 0.04])
        save_motion_npz(tmp_path / "saved" / f"{item}.npz", as_motion(moved, fps=clip.fps, skeleton=clip.skeleton))
    (card,) = run(cfg)
    row = card.rows["given"]
    assert row["abs_mpjpe"].mean == pytest.approx(50.0, abs=1e-3) and row["mpjpe"].mean == pytest.approx(0.0, abs=1e-3)
    assert row["jitter_10m_s3"].mean == pytest.approx(card.rows[GROUND_TRUTH]["jitter_10m_s3"].mean, rel=1e-2)
    gone = configuration(inputs, tmp_path / "out", f"score_only={tmp_path / 'gone'}", "ckpt_path=null")
    with pytest.raises(FileNotFoundError, match="gone does not exist"):
        run(gone)
    (tmp_path / "saved" / "0.npz").unlink()
    with pytest.raises(ValueError, match="holds 4 motions for a test of 5 clips"):
        run(cfg)


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        (["method=guess"], ValueError, "method is guess; choose one of model, .*oracle"),
        (["ckpt_path=null"], ValueError, "needs trained weights"),
        (["ckpt_path=gone.ckpt"], FileNotFoundError, r"1 missing file\(s\): gone\.ckpt"),
        (["method=oracle", "prior=gone.npz"], FileNotFoundError, r"gone\.npz"),
        (["method=oracle", "limit=0"], Exception, "limit is 0; give at least 1 clip"),
        (["method=oracle", "missing=2"], Exception, "missing_prob is 2; expected a probability"),
        (["method=oracle", "callbacks.metric=null"], ValueError, "no callback that scores"),
    ],
)
def test_invalid_options_are_reported_before_lifting_starts(
    more: list[str], error: type[Exception], message: str, inputs: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        run(configuration(inputs, tmp_path, *more))
    assert not list(tmp_path.rglob("*.npz"))


def test_motions_of_other_weights_are_refused(done: Path, inputs: Path) -> None:
    options = ("method=[oracle,model]", "noise_px=3", f"ckpt_path={inputs / 'other.ckpt'}")
    with pytest.raises(FileExistsError, match=r"motions of another test \(weights is .*overwrite=true"):
        run(configuration(inputs, done, *options))


def test_a_motion_of_another_clip_is_refused(inputs: Path, tmp_path: Path) -> None:
    cfg = configuration(inputs, tmp_path, "method=oracle", "ckpt_path=null")
    run(cfg)
    folder = GenerationFolder(tmp_path / "lifted" / "oracle")
    folder.path(Job(0, 0)).write_bytes(folder.path(Job(0, 3)).read_bytes())
    with pytest.raises(ValueError, match=r"'walk0/drawn' .* has 43 frames .* the clip has 34 frames"):
        run(cfg)


# --- RICH and AIST++ --------------------------------------------------------------------------------------------------


def test_rich_counts_every_listed_view_of_single_people(inputs: Path, tmp_path: Path) -> None:
    root = tmp_path / "rich"
    write_rich(root, num_frames=20)
    for seed, name in enumerate(RICH_SEQUENCES):
        joints3d = walker(20, seed=seed) @ TILTED[:3, :3].T + TILTED[:3, 3]
        hands = joints3d[:, 20:] + 0.3 * (joints3d[:, 20:] - joints3d[:, 18:20])
        path = root / "joints" / f"{name}.npz"
        path.parent.mkdir(exist_ok=True)
        np.savez(path, joints24_world=np.concatenate([joints3d, hands], 1))
    options = (f"clips.root={root}", f"clips.source.joints={root / 'joints'}", "method=[oracle,model]")
    (card,) = run(configuration(inputs, tmp_path / "out", *options, task="rich"))
    assert (card.set_size, card.num_sequences, card.num_frames, card.num_views) == (5, 2, 100, 4)
    assert card.average == "frames" and card.fps == 30.0 and card.rows["oracle"]["abs_mpjpe"].repeats == 2
    assert card.rows["oracle"]["abs_mpjpe"].mean < 0.2
    assert any("Scored over 22 joints" in note and "the set has 24" in note for note in card.notes)
    (captured,) = run(
        configuration(inputs, tmp_path / "own", *options[:2], "method=oracle", "clips.views=captured", task="rich")
    )
    assert captured.rows["oracle"]["abs_mpjpe"].mean < 0.2 and "24 of 'smpl24'" in captured.joints


@pytest.fixture(scope="module")
def aistpp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("recorded") / "aistpp"
    write_aistpp(root, num_frames=64)
    return root


def test_aistpp_lifts_windows_of_detections(inputs: Path, aistpp: Path, tmp_path: Path) -> None:
    options = (f"clips.root={aistpp}", "limit=3", "clips.source.window=24")
    (card,) = run(configuration(inputs, tmp_path / "out", *options, "method=oracle", task="aistpp"))
    clips = evaluation_clips(configuration(inputs, tmp_path, *options, task="aistpp"), ["oracle"])
    names = {name.rsplit("/", 1)[0] for name in clips.names}
    assert names == set(AIST_SEQUENCES) - {AIST_IGNORED} and len(clips.names) == 9 * 3 - 2
    assert card.average == "clips" and card.num_frames <= 3 * 24 and "17 of 'coco17'" in card.joints
    assert card.rows["oracle"]["abs_mpjpe"].mean < 20  # view 0 sees detections, the others true points
    assert not any("coco17" in note for note in card.notes)
    options = (*options, "method=[oracle,model]")
    (smpl,) = run(configuration(inputs, tmp_path / "smpl", *options, task="aistpp"))
    assert "17 of 'coco17'" in smpl.joints and "detections of 'coco17' keypoints, " in smpl.settings["2D"]
    assert any("'smpl22' joints are lifted and turned into 'coco17' for scoring" in note for note in smpl.notes)
    # Every keypoint there and back: face and hips of a fixed body on mixtures cost some centimeters, limbs nothing.
    assert 5 < smpl.rows["oracle"]["abs_mpjpe"].mean < 40 and smpl.rows["model"]["abs_mpjpe"].mean > 0
    lifted = load_motion_npz(next((tmp_path / "smpl" / "lifted" / "model").rglob("*.npz")))
    assert lifted.skeleton.name == "smpl22"
    neck = configuration(inputs, tmp_path / "smpl", *options, "clips.joints=openpose18", task="aistpp")
    (neck_card,) = run(neck)  # scored from the same motions
    assert "18 of 'openpose18'" in neck_card.joints
    assert 5 < neck_card.rows["oracle"]["abs_mpjpe"].mean < 40


def test_a_network_for_detector_joints_lifts_aistpp(inputs: Path, aistpp: Path, tmp_path: Path) -> None:
    weights = tmp_path / "coco.ckpt"
    options = (f"clips.root={aistpp}", "limit=2", f"ckpt_path={weights}", "representation=bbox_pose2d_coco17")
    cfg = configuration(inputs, tmp_path / "out", *options, "clips.joints=openpose18", task="aistpp")
    state = instantiate(cfg.pipeline).denoiser.state_dict()
    torch.save({"state_dict": {f"pipeline.denoiser.{k}": v for k, v in state.items()}}, weights)
    (card,) = run(cfg)
    assert card.rows["model"]["abs_mpjpe"].mean > 0 and "18 of 'openpose18'" in card.joints
    lifted = load_motion_npz(next((tmp_path / "out" / "lifted" / "model").rglob("*.npz")))
    assert lifted.skeleton.name == "coco17"


@pytest.mark.parametrize(("task", "name"), [("rich", "RICH"), ("aistpp", r"AIST\+\+")])
def test_a_missing_root_is_named(task: str, name: str, inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=f"{name} not found at .*gone; set its folder with clips.root="):
        run(configuration(inputs, tmp_path, f"clips.root={tmp_path / 'gone'}", "method=oracle", task=task))


def test_training_data_of_weights_is_read_from_the_files_next_to_them(tmp_path: Path) -> None:
    first, second = (tmp_path / n / "checkpoints" / "last.ckpt" for n in ("one", "two"))
    for path in (first, second):
        path.parent.mkdir(parents=True)
    train = {"store": "inputs/bandai_namco", "split": "train"}
    tracks = {"tracks": {"folder": "my_2d"}}
    (tmp_path / "one" / "config.yaml").write_text(
        yaml.safe_dump({"exp_name": "stage1", "ckpt_path": None, "datamodule": {"train": train, "extra": tracks}})
    )
    (tmp_path / "two" / "config.yaml").write_text(
        yaml.safe_dump({"exp_name": "stage2", "ckpt_path": str(first), "datamodule": {"train": train}})
    )
    assert training_record(second) == (
        "stage2 trained on bandai_namco/train, no other 2D, started from: stage1 trained on bandai_namco/train, 2D of "
        "my_2d, from nothing"
    )
    (tmp_path / "config.json").write_text(json.dumps({"about": {"data": "tiny, split train: 5 clips", "commands": []}}))
    assert training_record(tmp_path / "model.safetensors") == "trained on tiny, split train: 5 clips, no other 2D"
    assert training_record(tmp_path / "lost" / "checkpoints" / "last.ckpt") == "trained on unrecorded data"


def test_weights_trained_on_the_test_set_are_reported(inputs: Path, tmp_path: Path) -> None:
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    path.write_bytes((inputs / "model.ckpt").read_bytes())
    for split, is_told in (("train", False), ("test", True)):
        train = {"store": "inputs/tiny", "split": split}
        (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump({"exp_name": "x", "datamodule": {"train": train}}))
        (card,) = run(configuration(inputs, tmp_path / split, f"ckpt_path={path}", "limit=1"))
        assert any("TRAINED ON the set" in note for note in card.notes) == is_told
        assert f"x trained on tiny/{split}, no other 2D" in card.weights["model"]

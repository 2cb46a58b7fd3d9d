"""The data of a user, from files to generated motion: BVH with captions, and keypoints of videos alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.body.joint_conversion import smpl_to_coco17
from hmr4d.cli.generate import main as generate
from hmr4d.cli.prepare import main as prepare
from hmr4d.cli.quality import main as quality
from hmr4d.data.importers.caption_tables import CaptionTable
from hmr4d.data.importers.keypoints import import_keypoints
from hmr4d.data.store import KeypointStore, MotionStore
from hmr4d.engine.compose import compose_config
from hmr4d.engine.run import run
from hmr4d.export.bvh import write_bvh
from hmr4d.export.motion_npz import load_motion_npz
from hmr4d.motion.procedural import synthetic_joints
from hmr4d.motion_files.bone_names import bone_names
from hmr4d.motion_files.joint_maps import JOINT_MAPS
from tests.motions import as_motion

CAPTIONS = (
    "file,caption\none,a person walks\ntwo,somebody waves\nthree,a man sits down\nfour,she turns left\nfive,he bows\n"
)
NAMES = ("one", "two", "three", "four", "five")
SMALL = [
    "text=hash",
    "network=32x2",
    "trainer.accelerator=cpu",
    "data.batch_size=2",
    "data.batches_per_epoch=2",
    "data.num_workers=0",
]


def test_bvh_files_become_a_model_and_its_score(bandai_bvh: Callable[..., bytes], tmp_path: Path) -> None:
    clips, store, out = tmp_path / "clips", tmp_path / "mine", tmp_path / "out"
    clips.mkdir()
    for seed, name in enumerate(NAMES):
        (clips / f"{name}.bvh").write_bytes(bandai_bvh(100, seed=seed))
    (tmp_path / "captions.csv").write_text(CAPTIONS)
    words = ["bvh", "--root", str(clips), "--captions", str(tmp_path / "captions.csv"), "--map", "bandai_namco"]
    assert prepare([*words, "--out", str(store), "--licence", "CC0", "--text-encoder", "hash"]) == 0
    assert {len(MotionStore.open(store).indices(split)) for split in ("train", "val", "test")} == {3, 1}
    experiment = ["exp=motion2to3/finetune_mv", "data_name=mine", f"data.train.store={store}", *SMALL]
    statistics = ["statistics", "--exp", "motion2to3/finetune_mv", "--store", str(store), "--items", "20"]
    assert prepare(statistics) == 0
    assert compose_config(experiment).motion.statistics == str(store / "motion2d_statistics.npz")
    run(compose_config([*experiment, "trainer.max_steps=2", f"output_dir={out / 'run'}"]))
    weights = f"ckpt_path={out / 'run/checkpoints/last.ckpt'}"
    task = [*experiment, weights, "global/task=text2motion/new_text", "prompts=[a person walks]", "seconds=2"]
    steps = "pipeline.sampling.num_inference_steps=2"
    run(compose_config([*task, steps, "export=[npz]", f"output_dir={out / 'new'}"]))
    (made,) = (out / "new").glob("*.npz")
    with np.load(made) as content:
        metadata = json.loads(str(content["metadata"]))
    assert metadata["licence"] == "CC0" and load_motion_npz(made).fps == 20.0
    words = ["a person walks", "--model", str(out / "run"), "--seconds", "2", "--export", "npz", "--steps", "2"]
    assert generate([*words, "--out", str(tmp_path / "typed")]) == 0
    (typed,) = (tmp_path / "typed").glob("*.npz")
    assert load_motion_npz(typed).metadata["licence"] == "CC0"


def write_keypoints(path: Path, content: str, seed: int) -> None:
    """A COCO result file of somebody seen from the front, 25 frames a second."""
    joints = torch.from_numpy(synthetic_joints(content, 60, np.random.default_rng(seed)))
    keypoints = smpl_to_coco17(joints).numpy()
    pixels = np.stack([640 + 300 * keypoints[..., 0], 900 - 300 * keypoints[..., 1]], -1)
    frames = [
        {"image_id": t, "category_id": 1, "keypoints": np.c_[p, np.full(17, 0.9)].ravel().tolist(), "score": 0.9}
        for t, p in enumerate(pixels)
    ]
    path.write_text(json.dumps(frames))


def test_keypoints_alone_become_a_model_of_3d_motion(tmp_path: Path) -> None:
    clips, inputs, out = tmp_path / "clips", tmp_path / "inputs", tmp_path / "out"
    clips.mkdir()
    for seed, name in enumerate(NAMES):
        write_keypoints(clips / f"{name}.json", "walk" if seed % 2 else "bow", seed)
    (tmp_path / "captions.csv").write_text(CAPTIONS)
    words = ["keypoints", "--root", str(clips), "--captions", str(tmp_path / "captions.csv")]
    words += ["--out", str(inputs / "keypoints2d")]
    assert prepare(words) == 2  # the files tell no frame rate
    assert prepare([*words, "--fps", "25"]) == 0
    store = KeypointStore.open(inputs / "keypoints2d")
    assert set(store.names) == set(NAMES) and store.keypoints(0).shape == (71, 18, 3)
    experiment = ["exp=motion2to3/keypoints2d", f"paths.inputs={inputs}", *SMALL]
    run(compose_config([*experiment, "trainer.max_steps=2", f"output_dir={out / 'run'}"]))
    weights = f"ckpt_path={out / 'run/checkpoints/last.ckpt'}"
    task = [*experiment, weights, "global/task=text2motion/new_text", "prompts=[a person walks]", "seconds=2"]
    steps = "pipeline.sampling.num_inference_steps=3"
    run(compose_config([*task, steps, "export=[npz]", f"output_dir={out / 'new'}"]))
    (made,) = (out / "new").glob("*.npz")
    motion = load_motion_npz(made)
    assert motion.fps == 30.0 and motion.joints3d.shape == (60, 22, 3) and np.isfinite(motion.joints3d).all()


def test_keypoint_files_that_differ_in_their_ending_are_clips_of_their_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    write_keypoints(clips / "one.json", "walk", 0)
    write_keypoints(clips / "two.JSON", "bow", 1)
    np.savez(clips / "one.npz", kp2d=np.ones((3, 2)))  # no track: it is left out, and does not hide the other
    captions = CaptionTable({"one.json": ["a walk", "a stroll"], "one.npz": ["a jump"]})
    done = import_keypoints(clips, tmp_path / "out", captions, fps=25.0)
    assert (done.num_clips, set(done.dropped)) == (1, {"one.npz", "two"})
    store = KeypointStore.open(tmp_path / "out")
    assert [store.caption_texts[c.caption] for c in store.clip_captions(0)] == ["a walk", "a stroll"]
    assert "1 files have no caption and are skipped, such as two." in caplog.text
    assert "1 files do not contain the size of their images, such as one.json." in caplog.text


@pytest.mark.parametrize("count", [3, 4, 8])
def test_small_collections_have_a_clip_in_every_split(
    count: int, bandai_bvh: Callable[..., bytes], tmp_path: Path
) -> None:
    for number in range(count):
        (tmp_path / f"{number}.bvh").write_bytes(bandai_bvh(8, seed=number))
    assert prepare(["bvh", "--root", str(tmp_path), "--map", "bandai_namco", "--out", str(tmp_path / "s")]) == 0
    store = MotionStore.open(tmp_path / "s")
    assert all(len(store.indices(split)) for split in ("train", "val", "test"))


def test_actions_of_own_clips_cannot_be_recognized(
    bandai_bvh: Callable[..., bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        (tmp_path / f"{number}.bvh").write_bytes(bandai_bvh(8, seed=number))
    words = ["bvh", "--root", str(tmp_path), "--map", "bandai_namco", "--name", "mine", "--out", str(tmp_path / "s")]
    assert prepare(words) == 0
    assert quality(["--store", str(tmp_path / "s"), "--out", str(tmp_path / "q")]) == 2
    said = capsys.readouterr().err
    assert "Clips of store 'mine' have no action labels" in said and "text2motion/test" in said


@pytest.mark.parametrize(("bones", "unit"), [("smpl", "m"), ("mixamo", "cm"), ("unreal", "m"), ("unity", "cm")])
def test_our_own_bvh_files_become_training_data(bones: str, unit: str, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    about = {"licence": "CC0", "joint_convention": "cmu"}
    for seed, name in enumerate(NAMES[:3]):
        walk = as_motion(synthetic_joints("walk", 24, np.random.default_rng(seed)), metadata=about)
        rigid = write_bvh(tmp_path / f"clips/{name}.bvh", walk, bones=bones, units=unit)
        truth = rigid.joints().numpy()
    words = ["bvh", "--root", str(tmp_path / "clips"), "--map", bones, "--out", str(tmp_path / "store")]
    assert prepare(words if (bones, unit) == ("smpl", "m") else [*words, "--unit", unit]) == 0
    store = MotionStore.open(tmp_path / "store")
    assert (store.info["licence"], store.info["joint_convention"]) == ("CC0", "cmu")
    truth = truth - [0, truth[..., 1].min(), 0]  # `prepare` puts the lowest joint onto the floor
    assert np.abs(store.joints3d(store.names.index(NAMES[2])) - truth).max() < 1e-3


def test_a_map_that_does_not_fit_is_answered_with_those_that_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bvh(tmp_path / "a.bvh", as_motion(synthetic_joints("walk", 9, np.random.default_rng(0))), bones="mixamo")
    assert prepare(["bvh", "--root", str(tmp_path), "--out", str(tmp_path / "store")]) == 2
    assert "Use --map mixamo." in capsys.readouterr().err


@pytest.mark.parametrize("prefix", ["", "mixamorig9:", "mixamorig_", "Anna:"])
def test_maps_ignore_namespaces(prefix: str) -> None:
    names = [prefix + name.removeprefix("mixamorig:") for name in bone_names("mixamo")]
    positions = np.random.default_rng(0).random((4, 22, 3))
    assert np.array_equal(JOINT_MAPS["mixamo"].apply(positions, names), positions)

"""The prepare command: what it prints, where it writes, how it fails."""

import re
import zipfile

import numpy as np
import pytest
import torch
import yaml

from hmr4d.body.loading import load_body
from hmr4d.body.pose import OWN_BONES, Pose
from hmr4d.body.pose_limits import load_pose_limits
from hmr4d.body.skeleton import SMPL22
from hmr4d.cli.export_humanml3d import main as export
from hmr4d.cli.prepare import build_parser, main
from hmr4d.data.store import MotionStore
from hmr4d.export.motion_npz import save_motion_npz
from hmr4d.geometry.rotations import rotvec_to_matrix
from hmr4d.motion.motion import Motion
from hmr4d.nn.action_index import load_actions
from hmr4d.nn.text_adapter import read_captions
from hmr4d.representation.motion2d import Statistics
from hmr4d.utils.safe_pickle import load_arrays_pickle
from tests.data.amass_files import write_parts


def test_synthetic_with_text_cache(tmp_path, capsys):
    out = tmp_path / "syn"
    assert main(["synthetic", "--out", str(out), "--num-clips", "12", "--text-encoder", "hash"]) == 0
    assert "12 clips" in capsys.readouterr().out
    store = MotionStore.open(out)
    assert len(store.text_cache("hash")) == len(store.caption_texts)


def test_pack_and_statistics_of_a_store(tmp_path, capsys):
    assert main(["synthetic", "--out", str(tmp_path / "syn"), "--num-clips", "12"]) == 0
    assert main(["pack", "--store", str(tmp_path / "syn"), "--out", str(tmp_path / "packed"), "--step", "0.001"]) == 0
    assert "joints off by at most 0.5 mm" in capsys.readouterr().out
    assert MotionStore.open(tmp_path / "packed").is_packed
    assert main(["pack", "--store", str(tmp_path / "syn"), "--out", str(tmp_path / "packed")]) == 2
    assert "--overwrite" in capsys.readouterr().err
    out = tmp_path / "mine_20fps.npz"
    assert main(["statistics", "--store", str(tmp_path / "packed"), "--out", str(out), "--items", "8"]) == 0
    measured = Statistics.load(out)
    assert (measured.name, measured.fps, measured.mean.shape) == ("mine_20fps", 20.0, (44,))


def test_pose_limits_are_measured_of_motions_with_poses(tmp_path, capsys):
    rest, angles = load_body().rest_joints, torch.zeros(50, 22, 3)
    angles[:, SMPL22.index("left_knee"), 0] = torch.linspace(0.2, 1.4, 50)
    pose = Pose(OWN_BONES, rotvec_to_matrix(angles), torch.zeros(50, 3), rest)
    save_motion_npz(tmp_path / "in" / "a.npz", Motion(pose.joints(), 30.0, pose=pose))
    words = ["pose-limits", str(tmp_path / "in"), "--out", str(tmp_path / "limits.json"), "--margin", "0.05"]
    assert main(words) == 0
    assert "50 poses of 1 files" in capsys.readouterr().out
    knee = load_pose_limits(tmp_path / "limits.json").greatest[3 * (SMPL22.index("left_knee") - 1)]
    assert float(knee) == pytest.approx(1.45, abs=0.01)
    save_motion_npz(tmp_path / "in" / "b.npz", Motion(pose.joints(), 30.0))
    assert main(words) == 2
    assert "contains joints without rotations" in capsys.readouterr().err


def test_text_for_a_store_that_is_there(tmp_path):
    out = tmp_path / "syn"
    assert main(["synthetic", "--out", str(out), "--num-clips", "2"]) == 0
    assert MotionStore.open(out).text_cache("hash") is None
    assert main(["text", "--store", str(out), "--text-encoder", "hash"]) == 0
    assert MotionStore.open(out).text_cache("hash") is not None


def test_a_text_adapter_is_learned_from_stores_and_measured_on_prompts(tmp_path, capsys):
    stores = [str(tmp_path / name) for name in "ab"]
    for seed, store in enumerate(stores):
        main(["synthetic", "--out", store, "--num-clips", "24", "--seed", str(seed), "--text-encoder", "hash"])
    captions = read_captions(stores, "hash")
    prompts = {label: [captions.texts[captions.actions.index(label)]] for label in sorted(set(captions.actions))}
    (tmp_path / "prompts.yaml").write_text(yaml.safe_dump(prompts))
    capsys.readouterr()
    arguments = ["text-adapter", "--store", *stores, "--encoder", "hash", "--out", str(tmp_path / "words")]
    more = ["--steps", "10", "--dim", "16", "--folds", "1", "--prompts", str(tmp_path / "prompts.yaml")]
    assert main([*arguments, *more]) == 0
    out = capsys.readouterr().out
    assert f"{len(captions)} captions of {len(prompts)} actions" in out
    assert "far prompts: AUC" in out
    assert re.search(
        r"prompts.yaml: most probable action is correct for .*%.* adapter, [\d.]+% with adapter and recognizer", out
    )
    index = load_actions(tmp_path / "words")
    assert {action.name for action in index.actions} == set(prompts)
    assert index.check is not None
    adapter = str(tmp_path / "words" / "text_adapter.safetensors")
    again = ["text-adapter", "--store", *stores, "--encoder", "hash", "--adapter", adapter, "--folds", "0"]
    again += ["--steps", "10"]  # of the recognizers; the prototypes follow from the adapter
    assert main([*again, "--out", str(tmp_path / "again")]) == 0
    assert torch.allclose(load_actions(tmp_path / "again").prototypes, index.prototypes, atol=2e-3)  # half precision


def test_humanml3d_shows_the_notice_once(tmp_path, capsys):
    root = tmp_path / "hml"
    (root / "texts").mkdir(parents=True)
    (root / "texts" / "000001.txt").write_text("a man walks.#a/DET man/NOUN walk/VERB#0.0#0.0\n")
    (root / "train.txt").write_text("000001\n")
    np.savez(root / "joints3d.npz", **{"000001": np.ones((50, 22, 3), np.float32)})
    assert main(["humanml3d", "--root", str(root), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err.count("# HumanML3D motion") == 1
    assert MotionStore.open(tmp_path / "out").names == ["000001"]


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["bandai_namco", "--root", "nowhere.tar.xz"], "Bandai-Namco data not found: nowhere.tar.xz"),
        (["humanml3d", "--root", "nowhere"], "HumanML3D files not found"),
        (["bvh", "--root", "nowhere"], "nowhere is no folder. Give the folder of the .bvh files"),
        (["bvh", "--root", "nowhere", "--captions", "none.csv"], "Captions file not found: none.csv"),
        (["bvh", "--root", "nowhere", "--map", "nobody"], "Joint map not found: 'nobody'"),
        (["bvh", "--root", "nowhere", "--unit", "mile"], "Unit 'mile'"),
        (["synthetic", "--num-clips", "0"], "num_clips is 0"),
        (["synthetic", "--text-encoder", "bert"], "Unknown text encoder 'bert'"),
        (["synthetic", "--text-encoder", "clip", "--text-folder", "nowhere"], "CLIP not found in nowhere"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(tmp_path, capsys, arguments, cause):
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert cause in last
    assert not (tmp_path / "out").exists()


def test_finished_store_needs_overwrite(tmp_path, capsys):
    command = ["synthetic", "--out", str(tmp_path / "syn"), "--num-clips", "2"]
    assert main(command) == 0
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


def test_default_places_follow_the_inputs_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HMR4D_INPUTS", str(tmp_path / "elsewhere"))
    assert main(["synthetic", "--num-clips", "2"]) == 0
    assert len(MotionStore.open(tmp_path / "elsewhere" / "synthetic")) == 2
    args = build_parser().parse_args(["text", "--store", "x"])
    assert args.text_folder.is_relative_to(tmp_path / "elsewhere")


def test_humanml3d_from_amass(tmp_path, capsys, caplog):
    places = write_parts(tmp_path)
    options = {
        "--amass": places.amass,
        "--humanact12": places.humanact12,
        "--index": places.index,
        "--texts": places.texts,
        "--body-models": places.body_models,
        "--out": places.out,
        "--jobs": 1,
    }
    command = ["humanml3d-from-amass", *(str(word) for option in options.items() for word in option)]
    assert main([*command, "--make", "new_joints"]) == 0
    told = capsys.readouterr()
    assert "5 clips and as many mirrored ones, 0 problems" in told.out
    assert told.err.count("# HumanML3D motion") == 1 and "clips KIT: 2, the release has 4,648" in caplog.text
    assert (places.out / "new_joint_vecs" / "M000004.npy").is_file()
    assert not (places.out / "joints3d.pth").exists()

    (places.body_models / "smplh" / "male" / "model.npz").unlink()
    places.humanact12.unlink()
    assert main(command) == 2
    error = capsys.readouterr().err.partition("error: ")[2].splitlines()
    assert error[0].startswith("2 parts are missing.") and len(error) == 3
    assert error[1].startswith("- body model SMPL+H male:") and error[2].startswith("- HumanAct12:")


def test_published_export_takes_the_published_places(tmp_path, monkeypatch):
    places, inputs = write_parts(tmp_path / "parts"), tmp_path / "inputs"
    (inputs / "hml3d").mkdir(parents=True)
    places.amass.rename((inputs / "amass").mkdir() or inputs / "amass" / "smplhg_raw")
    places.body_models.rename((inputs / "checkpoints").mkdir() or inputs / "checkpoints" / "body_models")
    places.index.rename(inputs / "hml3d" / "index.csv")
    with zipfile.ZipFile(places.texts) as archive:
        archive.extractall(inputs / "hml3d")
    with zipfile.ZipFile(places.humanact12) as archive:  # flat, as that command wants it
        name = archive.namelist()[0]
        (inputs / "humanact12").mkdir()
        (inputs / "humanact12" / name.rpartition("/")[2]).write_bytes(archive.read(name))
    monkeypatch.setenv("HMR4D_INPUTS", str(inputs))
    assert export(["--jobs", "1"]) == 0
    assert len(load_arrays_pickle(inputs / "hml3d" / "joints3d.pth")) == 10
    assert (inputs / "hml3d" / "texts" / "M000000.txt").is_file()


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["bandai_namco"],
        ["humanml3d"],
        ["humanml3d-from-amass"],
        ["bvh"],
        ["cmu"],
        ["synthetic"],
        ["text"],
        ["pack"],
        ["statistics"],
    ],
)
def test_help(command, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([*command, "--help"])
    assert exit_info.value.code == 0
    assert "usage: hmr4d prepare" in capsys.readouterr().out

"""Lifting from files to files: real readers, real methods, every output read back."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from hmr4d.body.joint_conversion import convert_joints
from hmr4d.body.pose_prior import fit_pose_prior
from hmr4d.body.skeleton import COCO17, SMPL22
from hmr4d.camera.camera_files import read_camera
from hmr4d.cli.lift import main
from hmr4d.export.motion_npz import load_motion_npz
from hmr4d.geometry.rigs import project
from hmr4d.methods.defaults import TEXT_MODEL
from hmr4d.methods.mocap2to3.method import METHOD
from hmr4d.motion.procedural import synthetic_joints
from tests.methods.mocap2to3.tiny import CAM_DIM, GRID, NUM_CONDITION, NUM_FEATURES, tiny_denoiser, tiny_pipeline

CAMERA = {"size": [640, 360], "fov_deg": 65, "pose": {"pitch_deg": 10, "roll_deg": 2, "height_m": 1.6}}
FRAMES = 16


def saved_camera(folder: Path, **changes: Any) -> Path:
    path = folder / "camera.yaml"
    path.write_text(yaml.safe_dump({**CAMERA, **changes}), encoding="utf-8")
    return path


def person(x: float = 0.0, frames: int = FRAMES) -> torch.Tensor:
    """(L, 22, 3) someone who walks five meters ahead of the camera."""
    joints3d = torch.from_numpy(synthetic_joints("walk", frames, np.random.default_rng(0)))
    middle = joints3d[:, 0].mean(0) * torch.tensor([1.0, 0.0, 1.0])
    return joints3d - middle + torch.tensor([x, 0.0, -5.0])


def pixels(folder: Path, joints3d: torch.Tensor) -> np.ndarray:
    """(L, J, 2) of joints in the camera."""
    return project(read_camera(saved_camera(folder)).rig.to(torch.float32), joints3d)[0][0].numpy()


def coco_file(folder: Path, people: list[torch.Tensor]) -> Path:
    entries = []
    for number, joints3d in enumerate(people):
        points = pixels(folder, convert_joints(joints3d, SMPL22, COCO17))
        for frame, row in enumerate(np.insert(points, 2, 0.9, axis=-1)):
            entries.append(
                {
                    "image_id": frame + 3,
                    "category_id": 1,
                    "track_id": number + 1,
                    "keypoints": row.ravel().tolist(),
                    "score": 1.0,
                }
            )
    path = folder / "walk.json"
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def smpl_file(folder: Path, joints3d: torch.Tensor) -> Path:
    points = pixels(folder, joints3d)
    np.savez(folder / "walk.npz", kp2d=points, kp2d_conf=np.ones(points.shape[:2]), skeleton="smpl22", fps=20.0)
    return folder / "walk.npz"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A released model of an untrained network."""
    folder = tmp_path_factory.mktemp("model")
    network = {
        "num_features": NUM_FEATURES,
        "num_condition_features": NUM_CONDITION,
        "cam_dim": CAM_DIM,
        "dim": 16,
        "ff_dim": 24,
        "num_layers": 2,
        "num_heads": 2,
        "dropout": 0.0,
        "use_views": True,
        "grid": GRID,
        "patch": 4,
    }
    pipeline = tiny_pipeline(tiny_denoiser(), joint_convention="bandai_namco")
    METHOD.save(folder, pipeline, {"network": network}, {"licence": "none"})
    return folder


def test_from_keypoints_to_files_without_a_network(tmp_path: Path) -> None:
    truth = convert_joints(person(), SMPL22, COCO17)
    keypoints, out = coco_file(tmp_path, [person()]), tmp_path / "out"
    words = [str(keypoints), "--camera", str(tmp_path / "camera.yaml"), "--method", "ground_ray", "--fps", "20"]
    assert main([*words, "--out", str(out), "--export", "csv,html"]) == 0
    names = {"walk.npz", "walk.html", "walk_plan.png", "walk_overlay.png", "walk_overlay.mp4", "walk.csv"}
    assert {path.name for path in out.iterdir()} == names
    motion = load_motion_npz(out / "walk.npz")
    assert (motion.fps, motion.skeleton, motion.num_frames) == (20.0, COCO17, FRAMES)
    assert motion.metadata["method"] == "ground_ray" and motion.metadata["camera"] == "camera.yaml"
    with np.load(out / "walk.npz") as arrays:
        off = np.linalg.norm(arrays["root"] - truth[:, [11, 12]].mean(1).numpy(), axis=-1)
        assert off.mean() < 0.3  # meters, five meters away
        assert arrays["frame_ids"].tolist() == list(range(3, 3 + FRAMES))
        assert np.isnan(arrays["confidence"]).all()  # nothing is known about how wrong this method is
        camera = read_camera(tmp_path / "camera.yaml")
        np.testing.assert_allclose(arrays["camera_T_w2c"], camera.T_w2c)
        again = arrays["joints_world"] @ camera.T_w2c[:3, :3].numpy().T + camera.T_w2c[:3, 3].numpy()
        np.testing.assert_allclose(arrays["joints_cam"], again, atol=1e-4)
        np.testing.assert_allclose(arrays["kp2d"], pixels(tmp_path, truth), atol=1e-3)
    assert all(Image.open(out / f"walk_{name}.png").width > 300 for name in ("plan", "overlay"))


def test_a_fitted_chain_with_poses_of_ones_own(tmp_path: Path) -> None:
    joints3d = person(frames=6)
    keypoints, prior = smpl_file(tmp_path, joints3d), tmp_path / "prior.npz"
    fit_pose_prior([person().numpy()], source="a walk", size=8, stride=2).save(prior)
    words = [str(keypoints), "--camera", str(tmp_path / "camera.yaml"), "--method", "optimization"]
    assert main([*words, "--prior", str(prior), "--out", str(tmp_path / "out")]) == 0
    found = load_motion_npz(tmp_path / "out" / "walk.npz")
    assert found.metadata["pose_prior"] == "prior.npz" and found.fps == 20.0
    assert (found.joints3d - joints3d).norm(dim=-1).mean() < 0.3  # meters, five meters away


def test_the_default_model_says_how_far_off_each_joint_may_be(tmp_path: Path) -> None:
    joints3d = person()
    keypoints = smpl_file(tmp_path, joints3d)
    words = [str(keypoints), "--camera", str(tmp_path / "camera.yaml"), "--samples", "2", "--overlay", "none"]
    assert main([*words, "--device", "cpu", "--out", str(tmp_path / "out")]) == 0
    with np.load(tmp_path / "out" / "walk.npz") as arrays:
        off = np.linalg.norm(arrays["joints_world"] - joints3d.numpy(), axis=-1)
        sigmas = [arrays[name] for name in ("sigma", "sigma_along", "sigma_across")]
        assert all(sigma.shape == off.shape and (sigma > 0).all() for sigma in sigmas)
        assert off.mean() < 0.3  # meters, five meters away
        assert 0.2 < arrays["spread"].mean() / sigmas[0].mean() < 2.0
        assert arrays["confidence"].min() > 0 and arrays["confidence"].max() <= 1


def test_from_keypoints_to_files_with_a_model(tmp_path: Path, model: Path) -> None:
    keypoints = smpl_file(tmp_path, person())
    words = [str(keypoints), "--camera", str(tmp_path / "camera.yaml"), "--model", str(model), "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "a"), "--samples", "2", "--steps", "2", "--export", "bvh,glb"]) == 0
    assert main([*words, "--out", str(tmp_path / "b"), "--samples", "2", "--steps", "2"]) == 0
    assert main([*words, "--out", str(tmp_path / "c"), "--samples", "2", "--steps", "2", "--seed", "1"]) == 0
    first, second, third = (np.load(tmp_path / name / "walk.npz") for name in "abc")
    np.testing.assert_array_equal(first["joints_world"], second["joints_world"])
    assert np.abs(first["joints_world"] - third["joints_world"]).max() > 1e-3
    assert first["joints_world"].shape == (FRAMES, 22, 3) and first["rig_T_w2c"].shape == (4, 4, 4)
    assert (first["spread"] > 0).any() and first["fps"] == 20
    assert first["confidence"].min() > 0 and first["confidence"].max() <= 1
    assert {p.suffix for p in (tmp_path / "a").iterdir()} >= {".bvh", ".glb"}
    about = load_motion_npz(tmp_path / "a" / "walk.npz").metadata
    assert (about["model"], about["licence"], about["joint_convention"]) == (str(model), "none", "bandai_namco")
    assert about["guess"] == "ray-lifting" and (first["sigma"] > 0).all()


def test_a_model_draws_from_the_motion_of_the_default_model_unless_told_otherwise(tmp_path: Path, model: Path) -> None:
    keypoints, truth = smpl_file(tmp_path, person()), person().numpy()
    words = [str(keypoints), "--camera", str(tmp_path / "camera.yaml"), "--model", str(model), "--overlay", "none"]
    errors = {}
    for guess in ("ray-lifting", "none"):
        assert main([*words, "--guess", guess, "--steps", "2", "--out", str(tmp_path / guess)]) == 0
        with np.load(tmp_path / guess / "walk.npz") as arrays:
            errors[guess] = np.linalg.norm(arrays["joints_world"] - truth, axis=-1).mean()
            assert ("sigma" in arrays) == (guess != "none")
    assert errors["ray-lifting"] < 0.5 * errors["none"]  # of a network that knows nothing


def test_virtual_cameras_of_a_file(tmp_path: Path, model: Path) -> None:
    keypoints = smpl_file(tmp_path, person())
    views = [
        {
            "pose": {
                "pitch_deg": 10,
                "height_m": 1.6,
                "yaw_deg": yaw,
                "position_m": [5 * math.sin(math.radians(yaw)), 5 * math.cos(math.radians(yaw)) - 5],
            }
        }
        for yaw in (90, 180, 270)
    ]
    (tmp_path / "rig.yaml").write_text(yaml.safe_dump({"views": views}), encoding="utf-8")
    words = [str(keypoints), "--camera", str(tmp_path / "camera.yaml"), "--model", str(model), "--steps", "1"]
    assert main([*words, "--rig", str(tmp_path / "rig.yaml"), "--out", str(tmp_path / "out")]) == 0
    T = np.load(tmp_path / "out" / "walk.npz")["rig_T_w2c"]
    centers = -(T[:, :3, :3].transpose(0, 2, 1) @ T[:, :3, 3:])[..., 0]
    np.testing.assert_allclose(centers[1:], [[5, 1.6, -5], [0, 1.6, -10], [-5, 1.6, -5]], atol=1e-5)


def test_everybody_in_one_world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keypoints = coco_file(tmp_path, [person(-1.0), person(1.0, FRAMES - 6)])
    words = [str(keypoints), "--camera", str(tmp_path / "camera.yaml"), "--method", "ground_ray", "--fps", "20"]
    out = tmp_path / "out"
    assert main([*words, "--person", "all", "--out", str(out)]) == 0
    places = [np.load(out / f"walk_p{name}.npz")["root"][:, 0].mean() for name in (1, 2)]
    assert places[0] < -0.5 and places[1] > 0.5 and (out / "walk_plan.png").is_file()
    assert main([*words, "--person", "2", "--out", str(tmp_path / "one")]) == 0
    assert len(np.load(tmp_path / "one" / "walk.npz")["root"]) == FRAMES - 6
    assert main([*words, "--person", "9", "--out", str(tmp_path / "none")]) == 2
    assert "it has no person '9'" in capsys.readouterr().err


def test_over_a_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from hmr4d.visualization.pixels import to_pixels
    from hmr4d.visualization.video_file import write_mp4

    keypoints = coco_file(tmp_path, [person(frames=6)])
    pictures = [Image.new("RGB", (640, 360), (0, 40 * min(i, 3), 0)) for i in range(10)]
    write_mp4(tmp_path / "video.mp4", map(to_pixels, pictures), fps=20, size=(640, 360))
    words = [str(keypoints), "--camera", str(tmp_path / "camera.yaml"), "--method", "ground_ray"]
    assert main([*words, "--video", str(tmp_path / "video.mp4"), "--out", str(tmp_path / "out")]) == 0
    import imageio_ffmpeg

    reader = imageio_ffmpeg.read_frames(str(tmp_path / "out" / "walk_overlay.mp4"))
    width, height = next(reader)["size"]  # type: ignore[index]
    first = np.frombuffer(next(reader), np.uint8).reshape(height, width, 3)
    assert 100 < first[-40:, :, 1].mean() < 140  # the keypoints begin at frame 3 of the video
    with np.load(tmp_path / "out" / "walk.npz") as result:
        assert result["fps"] == 20  # of the video: the keypoints do not tell
        np.testing.assert_allclose(result["times"], np.arange(3, 9) / 20, atol=1e-3)
    kept = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    (tmp_path / "no.mp4").write_text("no video")
    write_mp4(tmp_path / "tall.mp4", map(to_pixels, [Image.new("RGB", (360, 640))] * 2), fps=20, size=(360, 640))
    for name, message in (("no", "no.mp4 cannot be read as a video"), ("tall", "360 x 640 pixels, but the camera's")):
        assert main([*words, "--video", str(tmp_path / f"{name}.mp4"), "--out", str(tmp_path / "out")]) == 2
        assert message in capsys.readouterr().err
    assert kept == {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}


def test_results_keep_the_whole_name_and_never_replace_those_of_another_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keypoints, out = coco_file(tmp_path, [person(frames=6)]), tmp_path / "out"
    words = ["--camera", str(tmp_path / "camera.yaml"), "--fps", "20", "--method", "ground_ray", "--overlay", "none"]
    names = ["走る", "歩く", *(f"2026_studio_north_camera_A_take_003_subject_number_0{i}" for i in (1, 2))]
    for name in names:
        file = keypoints.rename(tmp_path / f"{name}.json")
        assert main([str(file), *words, "--out", str(out)]) == 0
        keypoints = Path(file)
    assert sorted(p.stem for p in out.glob("*.npz")) == sorted(names)
    assert not list(out.glob("*_overlay*"))
    other = tmp_path / "other" / keypoints.name
    other.parent.mkdir()
    other.write_bytes(keypoints.read_bytes())
    before = {p: p.read_bytes() for p in out.iterdir()}
    assert main([str(keypoints), *words, "--out", str(out)]) == 0  # the same file again
    assert main([str(other), *words, "--out", str(out)]) == 2
    assert f"is the result of {keypoints.resolve()}" in capsys.readouterr().err
    assert before.keys() == {*out.iterdir()}
    assert main([str(other), *words, "--out", str(out), "--overwrite"]) == 0


def test_files_that_differ_in_their_ending_have_results_of_their_own(tmp_path: Path) -> None:
    out = tmp_path / "out"
    files = [coco_file(tmp_path, [person(frames=6)]), smpl_file(tmp_path, person(frames=8))]
    words = ["--camera", str(tmp_path / "camera.yaml"), "--fps", "20", "--method", "ground_ray", "--overlay", "none"]
    for file in [*files, *files]:  # the second time replaces what the first one wrote
        assert main([str(file), *words, "--out", str(out)]) == 0
    lengths = {path.name: load_motion_npz(path).num_frames for path in out.glob("*.npz")}
    assert lengths == {"walk.npz": 6, "walk_npz.npz": 8}


def test_people_of_whom_too_little_is_seen_are_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keypoints = coco_file(tmp_path, [person(-1.0, 6), person(1.0, 4)])
    entries = json.loads(keypoints.read_text())
    for entry in entries:
        if entry["track_id"] == 2:
            entry["keypoints"][33:] = [0.0] * 18  # no hips, no legs: behind a table, or no person at all
    keypoints.write_text(json.dumps(entries))
    words = [str(keypoints), "--camera", str(tmp_path / "camera.yaml"), "--method", "ground_ray", "--person", "all"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert {p.name for p in (tmp_path / "out").glob("*.npz")} == {"walk_p1.npz"}
    assert "Person 2, visible in 4 frames, is skipped: No frame shows the root" in caplog.text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fps", "0"], "frame rate is 0.0"),
        (["--fps", "1e9"], "expected 1 to 1000"),
        (["--out", "camera.yaml"], "camera.yaml is a file; expected a folder"),
        (["--rig", "rig.yaml"], "--rig is for models with virtual cameras"),
        (["--samples", "0"], "--samples is 0"),
        (["--samples", "2"], "ground_ray is deterministic"),
        (["--export", "bvh"], "--export bvh accepts only joints of 'smpl22'; ground_ray returns 'coco17'"),
        (["--export", "fbx"], "Unknown export"),
        (["--video", "none.mp4"], "Video not found"),
        (["--camera", "none.yaml"], "Camera file not found"),
        (["--format", "openpose"], "content is coco, not openpose"),
        (["--method", "mocap2to3", "--model", "no-such-model"], "no-such-model"),
        (["--guess", "ray-lifting"], "ground_ray takes no guess"),
        (["--method", "guess"], "--method is 'guess'; choose model (which --model names, here one of ray_lifting)"),
        (["--method", "optimisation"], "The method 'optimisation' is now called 'optimization'."),
        (["--method", "model", "--model", TEXT_MODEL], "Motion-2-to-3 samples motion from text"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    keypoints = coco_file(tmp_path, [person(frames=4)])
    given = [str(keypoints), "--camera", str(tmp_path / "camera.yaml"), "--method", "ground_ray"]
    assert main([*given, "--out", str(tmp_path / "out"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("error:") == 1
    assert not (tmp_path / "out").exists()


def test_a_model_of_smpl_joints_takes_what_coco_keypoints_tell(tmp_path: Path, model: Path) -> None:
    keypoints = coco_file(tmp_path, [person()])
    words = [str(keypoints), "--camera", str(tmp_path / "camera.yaml"), "--out", str(tmp_path / "out")]
    assert main([*words, "--model", str(model), "--steps", "2", "--export", "bvh"]) == 0
    assert load_motion_npz(tmp_path / "out" / "walk.npz").skeleton == SMPL22
    with np.load(tmp_path / "out" / "walk.npz") as arrays:
        truth, conf = pixels(tmp_path, person()), arrays["kp2d_conf"]
        limbs, feet = list(SMPL22.indices("left_knee", "right_wrist")), list(SMPL22.indices("left_foot", "right_foot"))
        np.testing.assert_allclose(arrays["kp2d"][:, limbs], truth[:, limbs], atol=1e-3)
        assert (conf[:, feet] == 0).all() and np.allclose(conf[:, limbs], 0.9) and np.allclose(conf[:, 0], 0.5)
        side = np.ptp(truth[..., 1])  # the person's height in the picture
        assert np.abs(arrays["kp2d"] - truth)[:, conf.min(0) > 0].max() < 0.06 * side


def test_doubtful_results_say_so_and_end_strict_commands(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two people under one id are written, warned of, named in the file, and status 3 of --strict."""
    words = ["--camera", str(tmp_path / "camera.yaml"), "--method", "ground_ray", "--fps", "20", "--strict"]
    good, mixed = coco_file(tmp_path, [person(frames=30)]), tmp_path / "mixed.json"
    entries = json.loads(good.read_text())
    for entry, other in zip(entries, json.loads(coco_file(tmp_path, [person(1.2, 30)]).read_text()), strict=True):
        if entry["image_id"] // 10 % 2:
            entry["keypoints"] = other["keypoints"]
    mixed.write_text(json.dumps(entries))
    coco_file(tmp_path, [person(frames=30)])
    assert main([str(good), *words, "--out", str(tmp_path / "good")]) == 0
    assert "is doubtful;" not in caplog.text
    assert main([str(mixed), *words, "--out", str(tmp_path / "mixed")]) == 3
    assert "the result is doubtful; the keypoints jump" in caplog.text
    assert main([str(mixed), *words[:-1], "--out", str(tmp_path / "mixed")]) == 0
    with np.load(tmp_path / "good" / "walk.npz") as first, np.load(tmp_path / "mixed" / "mixed.npz") as second:
        assert (str(first["verdict"]), first["doubts"].tolist()) == ("fine", [])
        assert (str(second["verdict"]), second["doubts"].tolist()) == ("doubtful", ["jumps"])
    checks = load_motion_npz(tmp_path / "mixed" / "mixed.npz").metadata["checks"]
    assert checks["jumps"]["value"] > checks["jumps"]["limit"] and not checks["jumps"]["is_fine"]


def test_left_and_right_exchanged_in_a_whole_clip_are_doubted(tmp_path: Path) -> None:
    """The example of the docs, lifted with the default model."""
    example = Path("docs/examples/lift")
    entries = json.loads((example / "walk.json").read_text())[:60]
    order = list(COCO17.mirror_order)
    for name, exchanged in {"as_it_is": False, "exchanged": True}.items():
        for entry in entries:
            points = np.reshape(entry["keypoints"], (17, 3))
            entry["keypoints"] = (points[order] if exchanged else points).ravel().tolist()
        (tmp_path / f"{name}.json").write_text(json.dumps(entries))
        words = ["--camera", str(example / "camera.yaml"), "--fps", "20", "--overlay", "none", "--strict"]
        status = main([str(tmp_path / f"{name}.json"), *words, "--out", str(tmp_path / name)])
        with np.load(tmp_path / name / f"{name}.npz") as content:
            assert (status, content["doubts"].tolist()) == ((3, ["sides"]) if exchanged else (0, []))


def test_frames_without_the_person_are_reported_as_synthetic(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keypoints = coco_file(tmp_path, [person(frames=40)])
    entries = [entry for entry in json.loads(keypoints.read_text()) if not 10 <= entry["image_id"] < 34]
    keypoints.write_text(json.dumps(entries))
    words = [str(keypoints), "--camera", str(tmp_path / "camera.yaml"), "--method", "ground_ray", "--fps", "20"]
    assert main([*words, "--overlay", "none", "--out", str(tmp_path / "out")]) == 0
    assert "Person 1 is not visible for 1.2 s from frame 10 on; the motion there is interpolated." in caplog.text


def test_a_damaged_video_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "me.MP4").write_bytes(b"\0\0\0 ftypisom")
    saved_camera(tmp_path)
    assert main([str(tmp_path / "me.MP4"), "--camera", str(tmp_path / "camera.yaml")]) == 2
    assert "cannot be read as a video" in capsys.readouterr().err


def test_turned_images_are_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keypoints = coco_file(tmp_path, [person(2.5, frames=4)])
    saved_camera(tmp_path, size=[360, 640])
    words = [str(keypoints), "--camera", str(tmp_path / "camera.yaml"), "--method", "ground_ray"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    assert "seem to be swapped" in capsys.readouterr().err

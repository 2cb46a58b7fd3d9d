"""Files of other systems: told apart by content, the person where the system saw it, and odd content said."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import roma
import torch
from torch import Tensor

from hmr4d.export.motion_npz import save_motion_npz
from hmr4d.reference_motion.adapters import adapter_of, choose_person, read_clip, tracks_of
from hmr4d.reference_motion.adapters.base import Source
from hmr4d.reference_motion.body_track import ReadOptions, clip_of_track
from hmr4d.reference_motion.clip import ReferenceClip
from hmr4d.reference_motion.clip_file import save_clip
from hmr4d.reference_motion.convert import convert
from hmr4d.reference_motion.reference_file import save_reference
from hmr4d.reference_motion.rest_joints import derived_rest_joints
from hmr4d.utils.foreign_files import read_tree
from tests.reference_clips import posed_clip
from tests.reference_motion import layouts
from tests.reference_motion.layouts import FOCAL, SIZE, Person

assert_close = partial(torch.testing.assert_close, atol=2e-5, rtol=0)


def assert_joints(clip: ReferenceClip, expected: Tensor) -> None:
    assert_close(clip.motion.joints3d.double(), expected)
    assert clip.motion.pose is not None
    assert_close(clip.motion.pose.joints(), clip.motion.joints3d)


def assert_seen(clip: ReferenceClip, person: Person, family: str) -> None:
    """The camera of the clip sees the joints where the person is in the camera."""
    assert clip.camera is not None
    T = clip.camera.T_w2c.double()
    seen = clip.motion.joints3d.double() @ T[:, :3, :3].mT + T[:, None, :3, 3]
    assert_close(seen, person.joints(family) * torch.tensor([1.0, -1.0, -1.0]))


def test_smplestx(tmp_path: Path) -> None:
    person = Person()
    clip = read_clip(layouts.smplestx(tmp_path, person, fps=16.0))
    assert (clip.system, clip.motion.fps, clip.is_level, clip.remarks) == ("smplestx", 16.0, False, ())
    assert_joints(clip, person.joints())
    assert clip.camera is not None and clip.camera.size == SIZE and clip.camera.K is not None
    assert float(clip.camera.K[0, 0]) == FOCAL
    assert_seen(clip, person, "smplx")


@pytest.mark.parametrize("shapes", ["(T,1,3) and (T,21,3)", "numbers", "float64", "arrays"])
def test_smplestx_in_every_accepted_form(tmp_path: Path, shapes: str) -> None:
    person = Person()
    given = layouts.parameters(person)
    changes = {
        "(T,1,3) and (T,21,3)": {
            "global_orient": given["global_orient"][:, None],
            "body_pose": given["body_pose"].reshape(-1, 21, 3),
        },
        "numbers": {"focal_length": FOCAL, "width": torch.tensor(640.0), "height": torch.tensor([480])},
        "float64": {name: value.double() for name, value in given.items()},
        "arrays": {name: value.numpy() for name, value in given.items()},
    }[shapes]
    clip = read_clip(layouts.smplestx(tmp_path, person, **changes))
    assert_joints(clip, person.joints())
    assert clip.camera is not None and clip.camera.K is not None and float(clip.camera.K[0, 0]) == FOCAL
    assert any("30 frames per second are assumed" in remark for remark in clip.remarks)


def test_missing_camera_keys_are_reported_and_leave_a_camera_without_intrinsics(tmp_path: Path) -> None:
    clip = read_clip(layouts.smplestx(tmp_path, Person(), width=None))
    assert clip.camera is not None and clip.camera.K is None
    assert "The camera is left out, for the file has no usable width." in clip.remarks
    reference = convert(clip)
    assert reference.intrinsic is None and reference.extrinsic is not None


@pytest.mark.parametrize("space", ["world", "camera"])
def test_gvhmr(tmp_path: Path, space: str) -> None:
    person = Person()
    clip = read_clip(layouts.gvhmr(tmp_path, person), ReadOptions(space=space))
    assert clip.system == "gvhmr" and clip.is_level is (space == "world")
    assert_joints(clip, person.joints(world=space == "world"))
    assert_seen(clip, person, "smplx")
    assert clip.camera is not None and clip.camera.size == SIZE and clip.camera.is_static is (space == "camera")


def test_wham_takes_the_longest_track_and_names_the_others(tmp_path: Path) -> None:
    people = {4: Person(12), 7: Person(20, side=1.0)}
    path = layouts.wham(tmp_path, people)
    clip = read_clip(path, ReadOptions(size=SIZE))
    assert clip.system == "wham"
    assert_joints(clip, people[7].joints("smpl", world=True))
    assert_seen(clip, people[7], "smpl")
    assert clip.camera is not None and clip.camera.K is not None and float(clip.camera.K[0, 0]) == pytest.approx(800.0)
    assert clip.remarks[0] == ("The file has 2 people: 7 (20 frames), 4 (12 frames). Person 7 was selected (--person).")
    assert_joints(read_clip(path, ReadOptions(person="4")), people[4].joints("smpl", world=True))
    with pytest.raises(ValueError, match=r"no person '9'; it has 7 \(20 frames\), 4"):
        read_clip(path, ReadOptions(person="9"))


def test_4d_humans_with_two_people_and_predicted_frames(tmp_path: Path) -> None:
    people = {1: Person(20), 2: Person(9, side=1.0)}
    clip = read_clip(layouts.phalp(tmp_path, people, lost=(6, 7)))
    assert clip.system == "4dhumans" and clip.camera is not None and clip.camera.K is not None
    assert float(clip.camera.K[0, 0]) == pytest.approx(5000 / 256 * 640) and clip.camera.size == SIZE
    expected = people[1].joints("smpl")
    assert_close(clip.motion.joints3d[:6].double(), expected[:6])
    assert_close(clip.motion.joints3d.double(), expected, atol=0.02, rtol=0)
    assert any("2 frames contain predictions of the tracker" in remark for remark in clip.remarks)
    assert any("2 missing frames were interpolated" in remark for remark in clip.remarks)


@pytest.mark.parametrize("with_camera", [True, False])
def test_tram(tmp_path: Path, with_camera: bool) -> None:
    person = Person()
    path = layouts.tram(tmp_path, person, with_camera=with_camera)
    clip = read_clip(path)
    assert clip.system == "tram" and not clip.is_level
    assert_joints(clip, person.joints("smpl", world=with_camera))
    assert_seen(clip, person, "smpl")
    layouts.tram(tmp_path, Person(30, side=2.0), with_camera=False, track=3)
    if not with_camera:
        whole = read_clip(tmp_path)
        assert whole.motion.num_frames == 30 and "3 (30 frames), 0 (20 frames)" in whole.remarks[0]


@pytest.mark.parametrize("space", ["world", "camera"])
def test_prompthmr(tmp_path: Path, space: str) -> None:
    people = {1: Person(), 2: Person(8, side=1.0)}
    clip = read_clip(layouts.prompthmr(tmp_path, people), ReadOptions(space=space))
    assert clip.system == "prompthmr"
    assert_joints(clip, people[1].joints(world=space == "world"))
    assert_seen(clip, people[1], "smplx")


def test_camerahmr(tmp_path: Path) -> None:
    person = Person()
    clip = read_clip(layouts.camerahmr(tmp_path, person))
    assert (clip.system, clip.motion.fps) == ("camerahmr", 25.0)
    assert_joints(clip, person.joints("smpl"))
    assert_seen(clip, person, "smpl")


@pytest.mark.parametrize(("family", "key"), [("smplh", "mocap_framerate"), ("smplx", "mocap_frame_rate")])
def test_amass(tmp_path: Path, family: str, key: str) -> None:
    person = Person()
    clip = read_clip(layouts.amass(tmp_path, person, family, key))
    assert (clip.system, clip.motion.fps, clip.camera) == ("amass", 120.0, None)
    assert clip.motion.pose is not None and (clip.motion.pose.body, clip.motion.pose.gender) == (family, "male")
    assert_joints(clip, person.joints(family, world=True))
    assert convert(clip).fps == 20.0


def test_aistpp(tmp_path: Path) -> None:
    person = Person()
    clip = read_clip(layouts.aistpp(tmp_path, person))
    assert (clip.system, clip.motion.fps, clip.camera) == ("aistpp", 60.0, None)
    assert_joints(clip, person.joints("smpl", world=True))
    content = read_tree(layouts.aistpp(tmp_path, person, scaling=0.0))
    with pytest.raises(ValueError, match="'smpl_scaling' is 0"):
        tracks_of(adapter_of(content), Source(tmp_path / "dance.pkl", content))


def test_plain_parameters_stand_up_by_the_body(tmp_path: Path) -> None:
    person = Person()
    content = {name: value.numpy() for name, value in layouts.parameters(person, "smpl", 24, world=True).items()}
    (tmp_path / "mine.pkl").write_bytes(pickle.dumps(content))
    clip = read_clip(tmp_path / "mine.pkl")
    assert clip.system == "parameters" and not clip.is_level
    assert "The up axis was detected from the body: y." in clip.remarks[1]
    assert_joints(clip, person.joints("smpl", world=True))


@pytest.mark.parametrize("up", ["y", "z"])
def test_plain_parameters_of_torch_may_be_in_a_world(tmp_path: Path, up: str) -> None:
    person = Person()
    turn = {"y": torch.eye(3), "z": torch.tensor([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])}[up].double()
    content = layouts.parameters(person, "smplx", world=True)
    rest = derived_rest_joints("smplx").double()[0]
    content["global_orient"] = roma.rotmat_to_rotvec(turn @ roma.rotvec_to_rotmat(content["global_orient"].double()))
    content["transl"] = (content["transl"].double() + rest) @ turn.mT - rest
    torch.save(content, tmp_path / "mine.pt")
    clip = read_clip(tmp_path / "mine.pt")
    assert clip.camera is None and any(f"detected from the body: {up}." in remark for remark in clip.remarks)
    assert_joints(clip, person.joints("smplx", world=True))
    assert_joints(read_clip(tmp_path / "mine.pt", ReadOptions(up=up)), person.joints("smplx", world=True))
    torch.save(layouts.parameters(person), tmp_path / "seen.pt")
    clip = read_clip(tmp_path / "seen.pt")
    assert clip.camera is not None and not any("up axis" in remark for remark in clip.remarks)
    assert_joints(clip, person.joints())


def test_a_body_that_is_head_down_is_reported(tmp_path: Path) -> None:
    path = layouts.amass(tmp_path, Person(), "smplh", "mocap_framerate")
    assert not any("upside down" in remark for remark in read_clip(path).remarks)
    assert any("upside down" in remark for remark in read_clip(_upside_down(path)).remarks)


def _upside_down(path: Path) -> Path:
    arrays = dict(np.load(path))
    half = roma.rotvec_to_rotmat(torch.tensor([math.pi, 0.0, 0.0]).double())
    root = roma.rotvec_to_rotmat(torch.from_numpy(arrays["poses"][:, :3]).double())
    arrays["poses"] = arrays["poses"].copy()
    arrays["poses"][:, :3] = roma.rotmat_to_rotvec(half @ root).numpy()
    np.savez(path.with_name("down.npz"), **arrays)
    return path.with_name("down.npz")


def test_degrees_and_damaged_parts_are_refused(tmp_path: Path) -> None:
    content = layouts.parameters(Person())
    path = layouts.smplestx(tmp_path, Person(), global_orient=torch.rad2deg(content["global_orient"]))
    with pytest.raises(ValueError, match="'global_orient' rotates joints by .* radians in most frames.*degrees"):
        read_clip(path)
    torch.save({"smpl_params_global": 3}, tmp_path / "odd.pt")
    with pytest.raises(ValueError, match="'smpl_params_global' is a int; expected a dictionary with global_orient"):
        read_clip(tmp_path / "odd.pt")
    (tmp_path / "nothing.pt").touch()
    with pytest.raises(ValueError, match=r"nothing.pt is empty"):
        read_clip(tmp_path / "nothing.pt")
    torch.save(torch.zeros(50, 276), tmp_path / "zeros.pt")
    with pytest.raises(ValueError, match="'motion' has no rotation in row 0.*zero"):
        read_clip(tmp_path / "zeros.pt")


def test_files_of_this_package_are_read_too(tmp_path: Path) -> None:
    clip = posed_clip()
    save_motion_npz(tmp_path / "own.npz", clip.motion)
    assert torch.equal(read_clip(tmp_path / "own.npz").motion.joints3d, clip.motion.joints3d)
    reference = convert(clip)
    save_reference(tmp_path / "ref.pt", reference)
    again = convert(read_clip(tmp_path / "ref.pt"))
    torch.testing.assert_close(again.features[:-1], reference.features[:-1], atol=2e-4, rtol=0)
    assert again.extrinsic is not None and reference.extrinsic is not None
    torch.testing.assert_close(again.extrinsic, reference.extrinsic, atol=2e-4, rtol=0)


def test_gaps_are_closed_or_refused_and_frames_sorted(tmp_path: Path) -> None:
    person = Person(20)
    frames = np.delete(np.arange(24), [9, 10, 11, 12])
    path = layouts.wham(tmp_path, {1: person}, {1: frames[::-1].copy()})
    clip = read_clip(path)
    assert clip.motion.num_frames == 24 and clip.frames == list(range(24))
    assert any("4 missing frames were interpolated" in remark for remark in clip.remarks)
    assert_close(clip.motion.joints3d[0].double(), person.joints("smpl", world=True)[-1])
    with pytest.raises(ValueError, match=r"missing for 4 frames \(0.13 s\) after frame 8"):
        read_clip(path, ReadOptions(max_gap=0.1))
    part = read_clip(path, ReadOptions(max_gap=0.1, first=13, last=20))
    assert part.frames == list(range(13, 21))
    path = layouts.wham(tmp_path, {1: person}, {1: np.zeros(20, int)})
    with pytest.raises(ValueError, match="Frame 0 occurs 20 times"):
        read_clip(path)


def test_frames_without_finite_numbers_count_as_missing(tmp_path: Path) -> None:
    person = Person()
    broken = layouts.parameters(person)["body_pose"]
    broken[[3, 4, 19]] = torch.nan
    clip = read_clip(layouts.smplestx(tmp_path, person, body_pose=broken))
    assert clip.motion.num_frames == 19 and bool(clip.motion.joints3d.isfinite().all())
    assert any("3 frames contain values that are not finite, first frame 3" in remark for remark in clip.remarks)
    with pytest.raises(ValueError, match="No frame of the track has finite values"):
        read_clip(layouts.smplestx(tmp_path, person, transl=torch.full((20, 3), torch.inf)))


def test_one_frame_is_read(tmp_path: Path) -> None:
    clip = read_clip(layouts.smplestx(tmp_path, Person(1)))
    assert clip.motion.num_frames == 1
    with pytest.raises(ValueError, match="at least two frames"):
        convert(clip)


def test_lengths_in_millimeters_are_noticed_and_scaled(tmp_path: Path) -> None:
    person = Person()
    path = layouts.smplestx(tmp_path, person, transl=1000 * person.transl("smplx"))
    assert any("--scale 0.001" in remark for remark in read_clip(path).remarks)
    clip = read_clip(path, ReadOptions(scale=0.001))
    assert not any("--scale" in remark for remark in clip.remarks)
    assert_joints(clip, person.joints())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"transl": None}, r"lacks transl; it has global_orient, body_pose"),
        ({"body_pose": torch.zeros(20, 60)}, r"'body_pose' has shape \(20, 60\); expected axis-angle \(F, 63\)"),
        ({"transl": torch.zeros(19, 3)}, r"The translation has shape \(19, 3\); expected \(20, 3\)"),
        ({"body_pose": torch.zeros(19, 63)}, "'body_pose' has 19 frames, the root has 20"),
        ({"global_orient": "upright"}, "'global_orient' is not numeric"),
    ],
)
def test_wrong_parameters_are_named(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    path = layouts.smplestx(tmp_path, Person(), **changes)
    with pytest.raises(ValueError, match=words) as caught:
        read_clip(path)
    assert str(path) in str(caught.value)


def test_unknown_files_are_refused_with_their_content(tmp_path: Path) -> None:
    joblib.dump({"weights": np.ones(3)}, tmp_path / "x.pkl")
    with pytest.raises(ValueError, match="contains weights. Known systems: GVHMR, PromptHMR, WHAM"):
        read_clip(tmp_path / "x.pkl")
    with pytest.raises(FileNotFoundError, match="Check the path"):
        read_clip(tmp_path / "none.pt")
    joblib.dump({}, tmp_path / "x.pkl")
    with pytest.raises(ValueError, match="contains nothing"):
        read_clip(tmp_path / "x.pkl")


def test_matrices_that_are_no_rotations_are_refused(tmp_path: Path) -> None:
    person = Person()
    person.rotations = 1.2 * person.rotations
    with pytest.raises(ValueError, match="matrices that are not rotations"):
        read_clip(layouts.phalp(tmp_path, {1: person}))


def test_frame_numbers_are_those_of_the_video_also_in_files_of_this_package(tmp_path: Path) -> None:
    clip = replace(posed_clip(60), frames=list(range(100, 160)))
    save_clip(tmp_path / "part.npz", clip)
    cut = read_clip(tmp_path / "part.npz", ReadOptions(first=110, last=119))
    assert cut.frames == list(range(110, 120))
    assert_close(cut.motion.joints3d, clip.motion.joints3d[10:20])
    with pytest.raises(ValueError, match="has frames 100 to 159, none of the requested ones"):
        read_clip(tmp_path / "part.npz", ReadOptions(first=10, last=20))


def test_unsupported_options_of_files_of_this_package_are_refused(tmp_path: Path) -> None:
    clip = posed_clip(20)
    save_clip(tmp_path / "clip.npz", clip)
    assert read_clip(tmp_path / "clip.npz", ReadOptions(fps=48.0)).motion.fps == 48
    for options in (
        ReadOptions(scale=0.001),
        ReadOptions(up="z"),
        ReadOptions(person="3"),
        ReadOptions(space="camera"),
    ):
        with pytest.raises(ValueError, match="one person in a world with y up"):
            read_clip(tmp_path / "clip.npz", options)


def test_a_standing_person_in_millimetres_is_reported(tmp_path: Path) -> None:
    pose = {
        "global_orient": torch.tensor([[torch.pi, 0.0, 0.0]]).expand(20, 3).clone(),
        "body_pose": torch.zeros(20, 63),
    }
    torch.save({**pose, "transl": torch.tensor([[0.0, 200.0, 3500.0]]).expand(20, 3).clone()}, tmp_path / "mm.pt")
    assert "--scale 0.001" in " ".join(read_clip(tmp_path / "mm.pt").remarks)
    assert "--scale" not in " ".join(read_clip(tmp_path / "mm.pt", ReadOptions(scale=0.001)).remarks)


def test_world_parameters_of_a_pt_file_are_detected_from_the_body(tmp_path: Path) -> None:
    upright = {"global_orient": torch.zeros(20, 3), "body_pose": torch.zeros(20, 63), "transl": torch.zeros(20, 3)}
    torch.save(upright, tmp_path / "world.pt")  # y up, though .pt files are mostly in the frame of a camera
    found = read_clip(tmp_path / "world.pt")
    assert "detected from the body: y" in " ".join(found.remarks)
    for clip in (found, read_clip(tmp_path / "world.pt", ReadOptions(up="y"))):
        assert clip.motion.joints3d[0, 15, 1] > clip.motion.joints3d[0, 0, 1] and "head" not in " ".join(clip.remarks)


def _other_kinds(tree: Any) -> Iterator[Any]:
    """A tree with each of its parts in turn left out or replaced by something of another kind."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        rest = {k: v for k, v in tree.items() if k != key} if isinstance(tree, dict) else tree[:key] + tree[key + 1 :]
        yield rest
        for other in (None, 3, "x", [], np.zeros(0), np.zeros((6, 3, 3)), *_other_kinds(tree[key])):
            yield {**tree, key: other} if isinstance(tree, dict) else [*tree[:key], other, *tree[key + 1 :]]


@pytest.mark.parametrize("system", ["smplestx", "gvhmr", "phalp", "prompthmr", "tram", "amass", "camerahmr", "wham"])
def test_parts_of_unexpected_type_are_refused_in_one_sentence(tmp_path: Path, system: str) -> None:
    person = Person(2)
    layout = getattr(layouts, system)
    path = layout(tmp_path, {1: person} if system in ("phalp", "prompthmr", "wham") else person)
    tree = read_tree(next(path.rglob("hps_track*.npy")) if path.is_dir() else path)
    tried = 0
    for odd in _other_kinds(tree):
        try:
            adapter = adapter_of(odd)
            _, track = choose_person(tracks_of(adapter, Source(path, odd)), None)
            clip = clip_of_track(track, ReadOptions(), adapter.name)
        except ValueError:
            tried += 1
        else:
            assert clip.motion.joints3d.isfinite().all()
    assert tried > 10

import pytest

from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.motion_files.bone_names import bone_names, known_bone_names


def test_own_names_are_the_default() -> None:
    assert bone_names() == SMPL22.joint_names
    assert known_bone_names() == ("smpl", "mixamo", "unreal", "unity")


@pytest.mark.parametrize("bones", ["mixamo", "unreal", "unity"])
def test_names_are_complete_and_keep_their_side(bones: str) -> None:
    names = bone_names(bones)
    assert len(set(names)) == SMPL22.num_joints
    for ours, theirs in zip(SMPL22.joint_names, names, strict=True):
        for side in ("left", "right"):
            marked = f"{side[0]}" == theirs[-1] and theirs[-2] == "_" if bones == "unreal" else side in theirs.lower()
            assert marked == ours.startswith(side), (ours, theirs)
    swapped = [names[j] for j in SMPL22.mirror_order]
    flip = {"left": "right", "right": "left", "Left": "Right", "Right": "Left", "_l": "_r", "_r": "_l"}
    for theirs, twin in zip(names, swapped, strict=True):
        assert twin == theirs or any(theirs.replace(a, b) == twin for a, b in flip.items())


def test_well_known_names() -> None:
    table = {bones: dict(zip(SMPL22.joint_names, bone_names(bones), strict=True)) for bones in known_bone_names()}
    assert table["mixamo"]["left_elbow"] == "mixamorig:LeftForeArm"
    assert table["unreal"]["right_knee"] == "calf_r"
    assert table["unity"]["spine3"] == "UpperChest"


def test_unknown_names_and_unknown_joints_are_refused() -> None:
    with pytest.raises(ValueError, match="Unknown bone names 'maya'; known: smpl, mixamo, unreal, unity"):
        bone_names("maya")
    with pytest.raises(ValueError, match="no names for .*tail"):
        bone_names("unity", Skeleton("dog", ("tail",), (-1,), ()))

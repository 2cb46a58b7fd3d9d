"""Skeletons as immutable values: joint names, parents, mirror pairs and chains for drawing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hmr4d.utils.text_files import printable

GROUND_PARTS = ("ankle", "foot", "heel", "big_toe", "small_toe", "foot_index")  # of either side


@dataclass(frozen=True)
class Skeleton:
    """A named tree of joints.

    Attributes:
        name: registry key, recorded with every motion and every set of statistics.
        joint_names: one name per joint, index order is the tensor order.
        parents: parent index per joint, -1 for the root; a parent always precedes its children.
        chains: named index chains from the body outward, for drawing and for measuring height.
        drawn_limbs: pairs of joints to draw, if they differ from the bones of the tree.
    """

    name: str
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    chains: tuple[tuple[str, tuple[int, ...]], ...]
    drawn_limbs: tuple[tuple[int, int], ...] = ()

    @property
    def num_joints(self) -> int:
        return len(self.joint_names)

    def index(self, joint_name: str) -> int:
        """Index of a joint by name; KeyError lists the known names."""
        try:
            return self.joint_names.index(joint_name)
        except ValueError:
            raise KeyError(f"Skeleton '{self.name}' has no joint '{joint_name}'; it has {self.joint_names}.") from None

    def indices(self, *joint_names: str) -> tuple[int, ...]:
        return tuple(self.index(n) for n in joint_names)

    @cached_property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """(parent, child) for every joint but the root."""
        return tuple((p, c) for c, p in enumerate(self.parents) if p >= 0)

    @cached_property
    def limbs(self) -> tuple[tuple[int, int], ...]:
        """Pairs of joints to draw."""
        return self.drawn_limbs or self.bones

    @cached_property
    def root_joints(self) -> tuple[int, ...]:
        """The joints whose mean is the root: the pelvis, or both hips if there is none."""
        return self.indices("pelvis") if "pelvis" in self.joint_names else self.indices("left_hip", "right_hip")

    @cached_property
    def contact_joints(self) -> tuple[int, ...]:
        """Joints that rest near the floor: ankles, feet, toes and heels."""
        return tuple(i for i, n in enumerate(self.joint_names) if n.split("_", 1)[-1] in GROUND_PARTS)

    @cached_property
    def mirror_order(self) -> tuple[int, ...]:
        """Permutation that swaps left and right joints: `joints[..., mirror_order, :]`."""

        def twin(name: str) -> str:
            for a, b in (("left", "right"), ("right", "left")):
                if name.startswith(a):
                    return b + name[len(a) :]
            return name

        return tuple(self.index(twin(n)) for n in self.joint_names)

    def chain(self, name: str) -> tuple[int, ...]:
        return dict(self.chains)[name]


SMPL22 = Skeleton(
    name="smpl22",
    joint_names=(
        "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
        "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
        "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    ),
    parents=(-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19),
    chains=(
        ("right_leg", (0, 2, 5, 8, 11)),
        ("left_leg", (0, 1, 4, 7, 10)),
        ("spine", (0, 3, 6, 9, 12, 15)),
        ("right_arm", (9, 14, 17, 19, 21)),
        ("left_arm", (9, 13, 16, 18, 20)),
    ),
)  # fmt: skip

SMPL24 = Skeleton(
    name="smpl24",
    joint_names=(*SMPL22.joint_names, "left_hand", "right_hand"),
    parents=(*SMPL22.parents, 20, 21),
    chains=(*SMPL22.chains[:3], ("right_arm", (9, 14, 17, 19, 21, 23)), ("left_arm", (9, 13, 16, 18, 20, 22))),
)

# Joint sets of detectors are not anatomical trees: their parents only define some tree, and `limbs` is for drawing.
COCO17 = Skeleton(
    name="coco17",
    joint_names=(
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
        "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
        "right_ankle",
    ),
    parents=(-1, 0, 0, 1, 2, 0, 0, 5, 6, 7, 8, 5, 6, 11, 12, 13, 14),
    chains=(
        ("right_leg", (0, 6, 12, 14, 16)),
        ("left_leg", (0, 5, 11, 13, 15)),
        ("right_arm", (0, 6, 8, 10)),
        ("left_arm", (0, 5, 7, 9)),
        ("right_face", (0, 2, 4)),
        ("left_face", (0, 1, 3)),
    ),
    drawn_limbs=(
        (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12),
        (11, 12), (11, 13), (13, 15), (12, 14), (14, 16),
    ),
)  # fmt: skip

H36M17 = Skeleton(
    name="h36m17",
    joint_names=(
        "pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "spine", "thorax",
        "nose", "head", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
    ),
    parents=(-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15),
    chains=(
        ("right_leg", (0, 1, 2, 3)),
        ("left_leg", (0, 4, 5, 6)),
        ("spine", (0, 7, 8, 9, 10)),
        ("right_arm", (8, 14, 15, 16)),
        ("left_arm", (8, 11, 12, 13)),
    ),
)  # fmt: skip

_OPENPOSE_UPPER = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
)  # fmt: skip
_OPENPOSE_FACE = ("right_eye", "left_eye", "right_ear", "left_ear")
_OPENPOSE_ARMS = (("right_arm", (1, 2, 3, 4)), ("left_arm", (1, 5, 6, 7)))

OPENPOSE18 = Skeleton(
    name="openpose18",
    joint_names=(
        *_OPENPOSE_UPPER,
        "right_hip",
        "right_knee",
        "right_ankle",
        "left_hip",
        "left_knee",
        "left_ankle",
        *_OPENPOSE_FACE,
    ),
    parents=(-1, 0, 1, 2, 3, 1, 5, 6, 1, 8, 9, 1, 11, 12, 0, 0, 14, 15),
    chains=(
        ("right_leg", (0, 1, 8, 9, 10)),
        ("left_leg", (0, 1, 11, 12, 13)),
        *_OPENPOSE_ARMS,
        ("right_face", (0, 14, 16)),
        ("left_face", (0, 15, 17)),
    ),
)

OPENPOSE25 = Skeleton(
    name="openpose25",
    joint_names=(
        *_OPENPOSE_UPPER, "pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
        *_OPENPOSE_FACE, "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe",
        "right_heel",
    ),
    parents=(-1, 0, 1, 2, 3, 1, 5, 6, 1, 8, 9, 10, 8, 12, 13, 0, 0, 15, 16, 14, 19, 14, 11, 22, 11),
    chains=(
        ("right_leg", (8, 9, 10, 11, 22, 23)),
        ("left_leg", (8, 12, 13, 14, 19, 20)),
        ("spine", (0, 1, 8)),
        *_OPENPOSE_ARMS,
        ("right_face", (0, 15, 17)),
        ("left_face", (0, 16, 18)),
        ("right_heel", (11, 24)),
        ("left_heel", (14, 21)),
    ),
)  # fmt: skip

HALPE26 = Skeleton(
    name="halpe26",
    joint_names=(
        *COCO17.joint_names, "head", "neck", "pelvis", "left_big_toe", "right_big_toe", "left_small_toe",
        "right_small_toe", "left_heel", "right_heel",
    ),
    parents=(*COCO17.parents, 0, 0, 18, 15, 16, 20, 21, 15, 16),
    chains=(
        ("right_leg", (0, 6, 12, 14, 16, 21, 23)),
        ("left_leg", (0, 5, 11, 13, 15, 20, 22)),
        ("spine", (0, 18, 19)),
        *COCO17.chains[2:],
        ("head", (0, 17)),
        ("right_heel", (16, 25)),
        ("left_heel", (15, 24)),
    ),
    drawn_limbs=(
        (0, 1), (0, 2), (1, 3), (2, 4), (17, 18), (18, 5), (18, 6), (5, 7), (7, 9), (6, 8), (8, 10), (18, 19),
        (19, 11), (19, 12), (11, 13), (13, 15), (12, 14), (14, 16), (15, 20), (20, 22), (15, 24), (16, 21), (21, 23),
        (16, 25),
    ),
)  # fmt: skip

_COCO_FEET = ("left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel")

# OpenPose's BODY_25B: COCO's order, unlike that of BODY_25.
BODY25B = Skeleton(
    name="body25b",
    joint_names=(*COCO17.joint_names, "neck", "head", *_COCO_FEET),
    parents=(*COCO17.parents, 0, 17, 15, 19, 15, 16, 22, 16),
    chains=(
        ("right_leg", (0, 6, 12, 14, 16, 22, 23)),
        ("left_leg", (0, 5, 11, 13, 15, 19, 20)),
        *COCO17.chains[2:],
        ("head", (17, 18)),
        ("right_heel", (16, 24)),
        ("left_heel", (15, 21)),
    ),
    drawn_limbs=(
        (0, 1), (0, 2), (1, 3), (2, 4), (18, 17), (17, 5), (17, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12),
        (11, 12), (11, 13), (13, 15), (12, 14), (14, 16), (15, 19), (19, 20), (15, 21), (16, 22), (22, 23), (16, 24),
    ),
)  # fmt: skip

# Body and feet of the 133 joints of COCO-WholeBody.
WHOLEBODY23 = Skeleton(
    name="wholebody23",
    joint_names=(*COCO17.joint_names, *_COCO_FEET),
    parents=(*COCO17.parents, 15, 17, 15, 16, 20, 16),
    chains=(
        ("right_leg", (0, 6, 12, 14, 16, 20, 21)),
        ("left_leg", (0, 5, 11, 13, 15, 17, 18)),
        *COCO17.chains[2:],
        ("right_heel", (16, 22)),
        ("left_heel", (15, 19)),
    ),
    drawn_limbs=(*COCO17.drawn_limbs, (15, 17), (17, 18), (15, 19), (16, 20), (20, 21), (16, 22)),
)

# MediaPipe's (BlazePose's) 33 landmarks; the "foot index" is the tip of the second toe.
MEDIAPIPE33 = Skeleton(
    name="mediapipe33",
    joint_names=(
        "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer",
        "left_ear", "right_ear", "left_mouth", "right_mouth", "left_shoulder", "right_shoulder", "left_elbow",
        "right_elbow", "left_wrist", "right_wrist", "left_pinky", "right_pinky", "left_index", "right_index",
        "left_thumb", "right_thumb", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
        "left_heel", "right_heel", "left_foot_index", "right_foot_index",
    ),
    parents=(
        -1, 0, 1, 2, 0, 4, 5, 3, 6, 0, 0, 0, 0, 11, 12, 13, 14, 15, 16, 15, 16, 15, 16, 11, 12, 23, 24, 25, 26, 27, 28,
        27, 28,
    ),
    chains=(
        ("right_leg", (0, 12, 24, 26, 28, 32)),
        ("left_leg", (0, 11, 23, 25, 27, 31)),
        ("right_arm", (0, 12, 14, 16, 20)),
        ("left_arm", (0, 11, 13, 15, 19)),
        ("right_face", (0, 4, 5, 6, 8)),
        ("left_face", (0, 1, 2, 3, 7)),
        ("right_heel", (28, 30)),
        ("left_heel", (27, 29)),
        ("right_hand", (16, 18)),
        ("left_hand", (15, 17)),
        ("right_thumb", (16, 22)),
        ("left_thumb", (15, 21)),
        ("right_mouth", (0, 10)),
        ("left_mouth", (0, 9)),
    ),
    drawn_limbs=(
        (0, 1), (1, 2), (2, 3), (3, 7), (0, 4), (4, 5), (5, 6), (6, 8), (9, 10), (7, 11), (8, 12), (11, 12), (11, 13),
        (13, 15), (15, 17), (15, 19), (15, 21), (12, 14), (14, 16), (16, 18), (16, 20), (16, 22), (11, 23), (12, 24),
        (23, 24), (23, 25), (25, 27), (24, 26), (26, 28), (27, 29), (29, 31), (27, 31), (28, 30), (30, 32), (28, 32),
    ),
)  # fmt: skip

SKELETONS = {
    s.name: s
    for s in (SMPL22, SMPL24, COCO17, H36M17, OPENPOSE18, OPENPOSE25, BODY25B, HALPE26, WHOLEBODY23, MEDIAPIPE33)
}


def get_skeleton(name: str | Skeleton) -> Skeleton:
    """Skeleton by registry name, or the given one; ValueError lists the known names."""
    if isinstance(name, Skeleton):
        return name
    if name not in SKELETONS:
        raise ValueError(f"Unknown skeleton '{printable(str(name)[:80])}'; known: {sorted(SKELETONS)}.")
    return SKELETONS[name]

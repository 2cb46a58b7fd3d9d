"""Skeletons as immutable values: joint names, parents, mirror pairs and the chains people draw."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Skeleton:
    """A named tree of joints.

    Attributes:
        name: registry key, recorded beside every motion and every set of statistics.
        joint_names: one name per joint, index order is the tensor order.
        parents: parent index per joint, -1 for the root; a parent always precedes its children.
        chains: named index chains from the body outwards, for drawing and for measuring height.
    """

    name: str
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    chains: tuple[tuple[str, tuple[int, ...]], ...]

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

SKELETONS = {SMPL22.name: SMPL22}


def get_skeleton(name: str) -> Skeleton:
    """Skeleton by registry name; ValueError lists the known ones."""
    if name not in SKELETONS:
        raise ValueError(f"Unknown skeleton '{name}'; known: {sorted(SKELETONS)}.")
    return SKELETONS[name]

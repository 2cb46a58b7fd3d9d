"""Names of joints in animation programs."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

import yaml

from hmr4d.body.skeleton import SMPL22, Skeleton

OWN_NAMES = "smpl"


@lru_cache(maxsize=1)
def _tables() -> dict[str, dict[str, str]]:
    """Program -> {joint of `SMPL22` -> name}."""
    resource = resources.files("hmr4d.motion_files") / "resources" / "bone_names.yaml"
    return yaml.safe_load(resource.read_text(encoding="utf-8"))


def known_bone_names() -> tuple[str, ...]:
    """Values of the argument `bones` of `bone_names`."""
    return OWN_NAMES, *_tables()


def bone_names(bones: str = OWN_NAMES, skeleton: Skeleton = SMPL22) -> tuple[str, ...]:
    """Names of the joints of a skeleton, in the order of the skeleton.

    Args:
        bones: "smpl" for its own names, "mixamo", "unreal" or "unity".
        skeleton: skeleton of the joints.

    Raises:
        ValueError: the names are unknown, or the program has no names for the joints of the skeleton.
    """
    if bones == OWN_NAMES:
        return skeleton.joint_names
    if bones not in _tables():
        raise ValueError(f"Unknown bone names '{bones}'; known: {', '.join(known_bone_names())}.")
    table = _tables()[bones]
    if missing := [name for name in skeleton.joint_names if name not in table]:
        raise ValueError(
            f"'{bones}' has no names for {missing} of skeleton '{skeleton.name}'; use the names '{OWN_NAMES}'."
        )
    return tuple(table[name] for name in skeleton.joint_names)

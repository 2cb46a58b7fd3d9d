"""Names of joints in other programs."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

import yaml

from hmr4d.body.skeleton import SMPL22, Skeleton

OWN_NAMES = "smpl"


@lru_cache(maxsize=1)
def _tables() -> dict[str, dict[str, str]]:
    """Joint of `SMPL22` -> name, by program."""
    resource = resources.files("hmr4d.motion_files") / "resources" / "bone_names.yaml"
    return yaml.safe_load(resource.read_text(encoding="utf-8"))


def known_bone_names() -> tuple[str, ...]:
    """What `bone_names` takes."""
    return OWN_NAMES, *_tables()


def bone_names(bones: str = OWN_NAMES, skeleton: Skeleton = SMPL22) -> tuple[str, ...]:
    """Names of the joints of a skeleton, in its order.

    Args:
        bones: "smpl" for its own names, "mixamo", "unreal" or "unity".
        skeleton: joint meaning.

    Raises:
        ValueError: unknown names, or a skeleton that the other program has no names for.
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

"""roma, imported when its first function is used.

Importing it loads PyTorch's compiler, which takes about two seconds; help texts and error messages should not wait for
it. Use: `from hmr4d.utils import lazy_roma as roma`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from roma import (
        quat_wxyz_to_xyzw,
        rotmat_to_rotvec,
        rotmat_to_unitquat,
        rotvec_to_rotmat,
        special_gramschmidt,
        special_procrustes,
        unitquat_to_rotmat,
    )

__all__ = [
    "quat_wxyz_to_xyzw",
    "rotmat_to_rotvec",
    "rotmat_to_unitquat",
    "rotvec_to_rotmat",
    "special_gramschmidt",
    "special_procrustes",
    "unitquat_to_rotmat",
]


def __getattr__(name: str) -> object:
    """A function of roma; AttributeError for names that are not listed here."""
    if name not in __all__:
        raise AttributeError(f"lazy_roma has no '{name}'; add it to its list of roma functions.")
    import roma

    return getattr(roma, name)

"""Bodies by name."""

from __future__ import annotations

from typing import Any

from hmr4d.body import anny_body, light_body, smpl_bodies
from hmr4d.body.body_model import Body


def load_body(name: str = "anny", **options: Any) -> Body:
    """A body by name.

    Args:
        name: "anny" (free, ships with the package), "stick" (bones only), "anny_full" (free, 104 joints, any age and
            build; needs the package `anny`), "smpl", "smplh" or "smplx" (the user's licensed files).
        options: see `light_body.load_light_body`, `light_body.stick_body`, `anny_body.load_anny` and
            `smpl_bodies.load_smpl_body`.

    Raises:
        ValueError: unknown name.
        FileNotFoundError: the licensed file is missing; the message explains how to get it. ImportError: a package is
            missing; the message names it.
    """
    makers = {"anny": light_body.load_light_body, "stick": light_body.stick_body, "anny_full": anny_body.load_anny}
    if name in smpl_bodies.FAMILIES:
        return smpl_bodies.load_smpl_body(name, **options)
    if name not in makers:
        raise ValueError(f"Unknown body '{name}'; known: {', '.join((*makers, *smpl_bodies.FAMILIES))}.")
    return makers[name](**options)

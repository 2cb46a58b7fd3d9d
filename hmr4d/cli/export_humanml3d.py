"""`export_HumanML3D`: creates joints3d.pth of HumanML3D from the paths of the published command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from hmr4d.cli import prepare
from hmr4d.utils.places import inputs_folder


def published_places(inputs: Path) -> list[str]:
    """Options of `prepare.py humanml3d-from-amass` with the published paths."""
    hml3d = inputs / "hml3d"
    places = {
        "--amass": inputs / "amass" / "smplhg_raw",
        "--humanact12": inputs / "humanact12",
        "--index": hml3d / "index.csv",
        "--texts": hml3d / "texts",
        "--body-models": inputs / prepare.BODY_MODELS,
        "--out": hml3d,
    }
    return [word for option, place in places.items() for word in (option, str(place))]


def build_parser() -> argparse.ArgumentParser:
    """Command line; all options have defaults."""
    return argparse.ArgumentParser(
        prog="export_HumanML3D.py",
        description="Build joints3d.pth of HumanML3D from inputs/amass/smplhg_raw, inputs/humanact12, "
        "inputs/hml3d/index.csv and the body models, with texts for the mirrored clips. "
        "Any option of 'prepare.py humanml3d-from-amass' may be added.",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the export; returns the exit code."""
    _, options = build_parser().parse_known_args(argv)
    command = ["humanml3d-from-amass", *published_places(inputs_folder()), "--make", "joints3d"]
    return prepare.main([*command, *options])

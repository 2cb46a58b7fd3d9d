"""`hmr4d curate`: MotionWeb, from your own videos or keypoint files to captioned 2D clips to train on.

hmr4d curate run --root my_keypoints --captions captions.csv --fps 30 --size 1280 720 --out inputs/motionweb
hmr4d curate run --root my_videos --detector packaged --captioner template --out inputs/motionweb --jobs 2
hmr4d curate run --root my_videos --set speed=5 --out inputs/motionweb
hmr4d curate validate inputs/motionweb
hmr4d curate review inputs/motionweb
hmr4d curate decide inputs/motionweb review/train-00000.csv
hmr4d curate store inputs/motionweb --out inputs/motionweb_2d
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import groupby, islice
from pathlib import Path

from hmr4d.cli.console import run_guarded, setup_logging
from hmr4d.curation.clip_statistics import DatasetStatistics, clip_measures
from hmr4d.curation.export_store import export_store
from hmr4d.curation.filters import Thresholds
from hmr4d.curation.partitions import BACKENDS
from hmr4d.curation.plots import write_plots
from hmr4d.curation.review import COLUMNS, UNDECIDED, filled_in, read_decisions, write_review
from hmr4d.curation.run import PLOTS, REVIEW, curate, decisions_of, reasons_of
from hmr4d.curation.shards import SHARD_CLIPS, read_clips, write_folder
from hmr4d.curation.stages import Settings
from hmr4d.curation.trimming import TrimRules
from hmr4d.curation.validation import validate
from hmr4d.utils.files import write_text
from hmr4d.utils.places import inputs_folder

FAULTS_SHOWN = 20
_Commands = argparse._SubParsersAction


def build_parser() -> argparse.ArgumentParser:
    """Command line of `curate`."""
    parser = argparse.ArgumentParser(
        prog="hmr4d curate",
        description="MotionWeb: your own videos or keypoint files to captioned 2D clips. Nothing is downloaded.",
        epilog="Repeat the command to continue an interrupted run. See docs/motionweb.md.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(commands)
    for name, about, work in (
        ("validate", "check shards, manifest and statistics of a data set", _validate),
        ("stats", "statistics of the clips of a data set, as JSON and as an image", _stats),
        ("review", "contact sheets of a data set, and tables to fill in", _review),
        ("decide", "take decisions of a review into a data set; the next run leaves rejected clips out", _decide),
        ("store", "a data set as a 2D store to train on", _store),
        ("folder", "a data set as plain files, .npz and .json, for small ones", _folder),
    ):
        command = commands.add_parser(name, help=about, description=about + ".")
        command.set_defaults(work=work)
        command.add_argument("data", type=Path, help="folder of the data set")
        if name == "validate":
            command.add_argument("--no-captions", action="store_true", help="clips may lack captions")
        if name == "decide":
            command.add_argument("table", type=Path, nargs="+", help="CSV: clip_id, status (accept, reject), by, note")
        if name in ("store", "folder"):
            command.add_argument("--out", type=Path, required=True, help="folder to write")
        if name == "store":
            command.add_argument("--overwrite", action="store_true", help="replace a finished store")
    return parser


def _add_run(commands: _Commands) -> None:
    command = commands.add_parser(
        "run",
        help="all stages: detect, filter and trim, caption, statistics, shards",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    command.set_defaults(work=_run)
    command.add_argument(
        "--root", required=True, help="folder of videos and keypoint files, at any depth; or table:FILE.csv of files"
    )
    command.add_argument("--out", type=Path, default=inputs_folder() / "motionweb", help="folder of the data set")
    command.add_argument(
        "--detector", default="precomputed", help="precomputed, packaged, 'command:TOOL {video} {out}' or http://..."
    )
    command.add_argument(
        "--two-passes",
        action="store_true",
        help="detect every second frame first, the others only where clips are possible",
    )
    command.add_argument("--repose", help="second detector for the clips: http://...")
    command.add_argument("--captions", type=Path, help="file of captions by source or clip id: .csv, .tsv or .json")
    command.add_argument(
        "--captioner", default="none", help="none, template, 'command:TOOL {video} {prompt}' or openai:URL#MODEL"
    )
    command.add_argument("--render", action="store_true", help="write a video of every clip, the person in a red box")
    limits = Thresholds()
    known = ", ".join(f"{f.name}={getattr(limits, f.name):.4g}" for f in fields(limits))
    command.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help=f"limits of the filters: {known}")
    rules = TrimRules()
    command.add_argument("--min-frames", type=int, default=rules.min_frames, help="of a clip, at 30 fps")
    command.add_argument("--max-frames", type=int, default=rules.max_frames, help="of a clip, at 30 fps")
    command.add_argument("--fps", type=float, help="frames per second of keypoint files without this value")
    command.add_argument("--size", type=int, nargs=2, metavar=("W", "H"), help="image size of files without this value")
    command.add_argument("--skeleton", help="joint set, if it cannot be detected from the file or the limbs")
    command.add_argument("--backend", choices=sorted(BACKENDS), default="local", help="this machine, or Ray Data")
    command.add_argument("--jobs", type=int, default=1, help="partitions at the same time")
    command.add_argument("--retry-failed", action="store_true", help="try again what failed by an error")
    command.add_argument("--shard-clips", type=int, default=SHARD_CLIPS, help="clips of a shard")


def _run(args: argparse.Namespace) -> int:
    if args.captions is not None and args.captioner != "none":
        raise ValueError("Give --captions or --captioner, not both.")
    captioner = args.captioner if args.captions is None else f"file:{args.captions}"
    settings = Settings(
        root=args.root,
        detector=args.detector,
        repose=args.repose,
        captioner=captioner,
        render=args.render,
        thresholds=changed_thresholds(args.set),
        trim=TrimRules(args.min_frames, args.max_frames),
        fps=args.fps,
        size=None if args.size is None else tuple(args.size),
        skeleton=args.skeleton,
        two_passes=args.two_passes,
    )
    packed = curate(
        settings,
        args.out,
        backend=args.backend,
        jobs=args.jobs,
        retry_failed=args.retry_failed,
        shard_clips=args.shard_clips,
    )
    left_out = sum(reasons_of(packed.dead).values())
    table = packed.statistics
    sys.stdout.write(
        f"{args.out}: {table['clips']} clips, {table['hours']:.3f} h, {table['captions']} captions, "
        f"{left_out} skipped\n"
    )
    return 0


def changed_thresholds(changes: Sequence[str]) -> Thresholds:
    """The default limits with changes, each as NAME=VALUE; ValueError for an invalid one."""
    limits = Thresholds()
    names = [f.name for f in fields(limits)]
    for change in changes:
        name, _, value = change.partition("=")
        if name not in names:
            raise ValueError(f"Unknown limit '{name}' in --set; known: {', '.join(names)}.")
        try:
            limit = float(value)
        except ValueError:
            limit = math.nan
        if not (math.isfinite(limit) and limit >= 0):
            raise ValueError(f"--set {change}: '{value}' is no limit; expected a number of 0 or more.")
        limits = replace(limits, **{name: limit})
    return limits


def _validate(args: argparse.Namespace) -> int:
    faults = list(validate(args.data, needs_captions=not args.no_captions))
    for fault in faults[:FAULTS_SHOWN]:
        sys.stdout.write(f"{fault}\n")
    if len(faults) > FAULTS_SHOWN:
        sys.stdout.write(f"... and {len(faults) - FAULTS_SHOWN} more\n")
    sys.stdout.write(f"{args.data}: {len(faults)} faults\n" if faults else f"{args.data}: no faults\n")
    return 1 if faults else 0


def _stats(args: argparse.Namespace) -> int:
    statistics = DatasetStatistics()
    for _, record in read_clips(args.data):
        measured = clip_measures(record.arrays["kpts"][:, :17], record.arrays["bbox_xyxy"])
        statistics.add({**record.meta, **measured})
    table = statistics.table()
    write_plots(table, args.data / PLOTS)
    sys.stdout.write(json.dumps(table, indent=2, ensure_ascii=False) + "\n")
    return 0


def _review(args: argparse.Namespace) -> int:
    folder = args.data / "review"
    decisions = {**decisions_of(args.data), **filled_in(folder)}  # entries of tables that were not applied yet are kept
    for shard, clips in groupby(read_clips(args.data), key=lambda clip: clip[0]):
        for file in write_review(folder, Path(shard).stem, [record for _, record in clips], decisions):
            sys.stdout.write(f"{file}\n")
    return 0


def _decide(args: argparse.Namespace) -> int:
    next(islice(read_clips(args.data), 1), None)  # fails if it is not a data set
    decisions = dict(decisions_of(args.data))
    for table in args.table:
        decisions |= {name: d for name, d in read_decisions(table).items() if d.status != UNDECIDED}
    rows = [",".join(COLUMNS)]
    for name, decision in sorted(decisions.items()):
        quoted = ['"' + text.replace('"', '""') + '"' for text in (decision.by, decision.note)]
        rows.append(",".join([name, decision.status, *quoted]))
    write_text(args.data / REVIEW, "\n".join(rows) + "\n")
    sys.stdout.write(f"{args.data / REVIEW}: {len(decisions)} decisions; give the command 'run' again to apply them\n")
    return 0


def _store(args: argparse.Namespace) -> int:
    done = export_store(args.data, args.out, overwrite=args.overwrite)
    sys.stdout.write(f"{done.path}: {done.num_clips} clips, {done.num_frames} frames, {len(done.dropped)} skipped\n")
    return 0


def _folder(args: argparse.Namespace) -> int:
    sys.stdout.write(f"{args.out}: {write_folder(args.data, args.out)} clips\n")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `curate`; the exit code: 0, 1 for a data set with faults, 2 for bad input with one sentence on stderr."""
    args = build_parser().parse_args(argv)
    setup_logging()
    return run_guarded(lambda: args.work(args))

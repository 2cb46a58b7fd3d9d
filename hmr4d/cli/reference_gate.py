"""`hmr4d reference gate`: which motions of an archive are good enough to condition a generator on."""

from __future__ import annotations

import argparse
import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hmr4d.reference_motion.content_cache import ContentCache
    from hmr4d.reference_motion.gate_rules import GateRules
    from hmr4d.reference_motion.vlm import Judge

logger = logging.getLogger(__name__)

JUDGES = ("off", "gemini", "openai", "command", "people")
SOME_UNDECIDED = 3  # exit status


def add_commands(commands: Any) -> None:
    """Adds this command to `hmr4d reference`."""
    known = commands.add_parser(
        "gate",
        help="which motions of an archive are good enough",
        description="Decides for every motion of an archive: yes, no, or undecided. Writes a new archive and two "
        "reports next to it. Existing results are not computed again. More: docs/reference_gate.md.",
        epilog="Exit status: 0 all decided, 1 some entries are faulty, 2 bad input, 3 some are undecided. "
        "Example: hmr4d reference gate rendered.json --out gated.json --judge gemini",
    )
    known.add_argument("archive", type=Path, metavar="JSON", help="list of entries with motion_path")
    known.add_argument("--out", type=Path, required=True, metavar="JSON", help="new archive")
    known.add_argument(
        "--cache", type=Path, metavar="DIR", help="cache for resuming (reference_cache next to the new archive)"
    )
    known.add_argument("--limit", type=int, metavar="N", help="gate the first N entries; the others are not changed")
    add_rule_options(known)
    add_judge_options(known)
    known.set_defaults(work=gate)


def add_rule_options(known: argparse.ArgumentParser) -> None:
    """Options of the rules."""
    rules = known.add_argument_group("rules, whose limits numbers must stay below")
    rules.add_argument("--jitter", type=float, default=0.04, metavar="X", help="m/frame^2 at 20 frames a second (0.04)")
    rules.add_argument("--penetration", type=float, metavar="M", help="meters of the feet under the floor (no limit)")
    rules.add_argument("--sliding", type=float, metavar="X", help="m/s of standing feet (no limit)")
    rules.add_argument("--floating", type=float, metavar="X", help="fraction of frames with floating feet (no limit)")
    rules.add_argument("--bone-drift", type=float, metavar="PC", help="%% that bones vary in length (no limit)")
    rules.add_argument("--least-motion", type=float, metavar="X", help="m/s of movement that is needed (no limit)")
    rules.add_argument("--published", action="store_true", help="measure as the published gate: file's rate, axis 2")


def add_judge_options(known: argparse.ArgumentParser) -> None:
    """Options of the judge."""
    judge = known.add_argument_group("judge: decides whether a clip shows its prompt")
    judge.add_argument(
        "--judge",
        choices=JUDGES,
        default=JUDGES[0],
        help="off: only rules; gemini: needs GEMINI_API_KEY in the environment; openai: any compatible "
        "endpoint; command: a program; people: a file (off)",
    )
    judge.add_argument("--url", help="address of the service, such as http://localhost:8000/v1; required for openai")
    judge.add_argument("--model", help="model of the service; required for openai")
    judge.add_argument("--send", choices=("pictures", "video"), default="pictures", help="input for openai (pictures)")
    judge.add_argument("--command", help='program with {video}, {description}, {prompt}, {fps}: "ask.py {video}"')
    judge.add_argument(
        "--verdicts", type=Path, metavar="FILE", help="human verdicts, JSON or CSV: id, matches, analysis"
    )
    judge.add_argument("--ask-all", action="store_true", help="also ask about motions that violate a rule")
    judge.add_argument(
        "--sampling-fps", type=float, default=5.0, metavar="N", help="images per second for the judge (5)"
    )
    judge.add_argument("--threads", type=int, default=2, metavar="N", help="parallel requests (2)")
    judge.add_argument("--per-minute", type=float, default=0.0, metavar="N", help="requests per minute (no limit)")
    judge.add_argument("--attempts", type=int, default=4, metavar="N", help="attempts per request (4)")
    judge.add_argument("--timeout", type=float, default=120.0, metavar="S", help="seconds for an answer (120)")


def rules_of(args: argparse.Namespace) -> GateRules:
    """The rules of the options."""
    from hmr4d.reference_motion.gate_rules import GateRules

    return GateRules(args.jitter, args.penetration, args.sliding, args.floating, args.bone_drift, args.least_motion)


def judge_of(args: argparse.Namespace, cache: ContentCache) -> Judge | None:
    """The selected judge; ValueError if a required option is missing."""
    from hmr4d.reference_motion.human_verdicts import HumanJudge
    from hmr4d.reference_motion.vlm import AskedJudge, Backend, Patience
    from hmr4d.reference_motion.vlm_backends import (
        GEMINI_MODEL,
        GEMINI_URL,
        CommandBackend,
        GeminiBackend,
        OpenAIBackend,
    )

    needed = {"openai": ("url", "model"), "command": ("command",), "people": ("verdicts",)}.get(args.judge, ())
    if missing := [f"--{name}" for name in needed if getattr(args, name) is None]:
        raise ValueError(f"--judge {args.judge} needs {' and '.join(missing)}.")
    if args.judge == "off":
        return None
    if args.judge == "people":
        return HumanJudge(args.verdicts)
    backend: Backend
    if args.judge == "gemini":
        backend = GeminiBackend(model=args.model or GEMINI_MODEL, url=args.url or GEMINI_URL, timeout=args.timeout)
    elif args.judge == "openai":
        backend = OpenAIBackend(args.url, args.model, send=args.send, timeout=args.timeout)
    else:
        backend = CommandBackend(args.command, timeout=args.timeout)
    patience = Patience(attempts=args.attempts, per_minute=args.per_minute)
    return AskedJudge(backend, patience=patience, cache=cache.below("answers"))


def gate(args: argparse.Namespace) -> int:
    """Gates an archive; the exit status."""
    from hmr4d.reference_motion.archive_file import check_new_archive, read_archive, write_archive
    from hmr4d.reference_motion.content_cache import ContentCache
    from hmr4d.reference_motion.gate import GateOptions, gate_archive, gated_entries
    from hmr4d.reference_motion.gate_report import counts, flat_report, nested_report
    from hmr4d.utils.files import write_json

    archive = read_archive(args.archive)
    check_new_archive(archive, args.out)
    cache = ContentCache(args.cache or args.out.parent / "reference_cache")
    rules, judge = rules_of(args), judge_of(args, cache)
    options = GateOptions(rules, judge, args.published, args.ask_all, args.threads, args.sampling_fps, args.limit)
    records = gate_archive(archive, options, cache.below("measures"))
    settings: dict[str, Any] = {
        "rules": asdict(rules),
        "judge": judge.source if judge else None,
        "published": args.published,
    }
    write_json(args.out.with_suffix(".quality_flat.json"), flat_report(records))
    write_json(args.out.with_suffix(".quality.json"), nested_report(records, str(args.archive), settings))
    write_archive(archive, gated_entries(archive, records), args.out)
    found = counts(records)
    for index, record in enumerate(records):
        if record is not None and record.error:
            logger.warning("%s: %s", archive.label(index), record.error)
    logger.info("%s: %s.", args.out, ", ".join(f"{count} {name}" for name, count in found.items() if count) or "empty")
    return 1 if found["errors"] else SOME_UNDECIDED if found["undecided"] else 0

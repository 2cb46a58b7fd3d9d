"""`hmr4d reference render`: renders clips of the motions of an archive for the judge."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from hmr4d.cli.reference_options import add_body_option, licensed_folder, picture_size

logger = logging.getLogger(__name__)

CAMERAS = ("auto", "static", "follow")


def add_commands(commands: Any) -> None:
    """Adds this command to `hmr4d reference`."""
    known = commands.add_parser(
        "render",
        help="clips of the motions of an archive",
        description="Renders every motion of an archive and writes a new archive that names the clips. Clips of "
        "unchanged motions are kept; faulty entries are copied unchanged. More: docs/reference_gate.md.",
        epilog="Example: hmr4d reference render meta.json --out rendered.json --clips clips",
    )
    known.add_argument("archive", type=Path, metavar="JSON", help="list of entries with motion_path")
    known.add_argument("--out", type=Path, required=True, metavar="JSON", help="new archive")
    known.add_argument("--clips", type=Path, metavar="DIR", help="folder for the clips (clips next to the new archive)")
    known.add_argument("--size", type=picture_size, default=(960, 960), metavar="WxH", help="of the clips (960x960)")
    known.add_argument(
        "--camera",
        choices=CAMERAS,
        default=CAMERAS[0],
        help="static as published, follow, or auto: follow a figure that would get small",
    )
    add_body_option(known)
    known.add_argument("--vertices", action="store_true", help="meshes in the .pt files, for published tools")
    known.add_argument("--limit", type=int, metavar="N", help="render the first N entries; the others are not changed")
    known.add_argument(
        "--cache", type=Path, metavar="DIR", help="cache for resuming (reference_cache next to the new archive)"
    )
    known.set_defaults(work=render)


def render(args: argparse.Namespace) -> int:
    """Renders; 1 if some entries could not be used."""
    from hmr4d.body.loading import load_body
    from hmr4d.reference_motion.archive_file import check_new_archive, read_archive, write_archive
    from hmr4d.reference_motion.content_cache import ContentCache
    from hmr4d.reference_motion.gate_render import RenderOptions, render_archive

    archive = read_archive(args.archive)
    check_new_archive(archive, args.out)
    body = load_body(args.body, **licensed_folder(args.body, args.body_models))
    options = RenderOptions(args.size, args.camera, body, args.vertices, args.limit)
    cache = ContentCache(args.cache or args.out.parent / "reference_cache")
    done = render_archive(archive, args.clips or args.out.parent / "clips", options, cache=cache)
    write_archive(archive, [one.entry for one in done], args.out)
    errors = sum(bool(one.error) for one in done)
    rendered = sum(one.entry is not entry for one, entry in zip(done, archive.entries, strict=True))
    logger.info(
        "%s: %d clips, %d of them kept; %d entries could not be used.",
        args.out,
        rendered,
        sum(one.is_kept for one in done),
        errors,
    )
    return 1 if errors else 0

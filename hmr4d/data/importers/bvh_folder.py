"""Any folder of BVH files, with or without a captions file -> motion store."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hmr4d.body.joint_conventions import convention_of, joined_convention, retargeted_convention
from hmr4d.data.importers.caption_tables import CaptionTable
from hmr4d.data.importers.conversion import BvhSource, ClipMetadata, Conversion, add_bvh_clips
from hmr4d.data.importers.splits import split_by_names
from hmr4d.data.mirrored_text import mirror_text
from hmr4d.data.part_of_speech import pos_tokens
from hmr4d.data.store_writer import Caption, ClipRecord, StoreSummary, StoreWriter
from hmr4d.motion_files.joint_maps import JOINT_MAPS, JointMap, joint_map_from_dict
from hmr4d.motion_files.side_files import read_side_file
from hmr4d.utils.files import check_names, is_shown
from hmr4d.utils.parallel import default_jobs
from hmr4d.utils.progress import progress
from hmr4d.utils.text_files import printable, read_yaml

logger = logging.getLogger(__name__)

NAME = "bvh"
UNKNOWN = "unknown; ask the owner of the files"
CMU_CREDIT = (
    "The data used in this project was obtained from mocap.cs.cmu.edu. "
    "The database was created with funding from NSF EIA-0196217."
)


def load_joint_map(name_or_file: str) -> JointMap:
    """A built-in joint map by name, or one from a YAML file: target joint -> name, {from, to, at} or {joint: End Site}.

    Raises:
        FileNotFoundError: neither a built-in map nor a file.
        ValueError: not YAML, a duplicate joint, or missing joints; the message names the file.
    """
    if name_or_file in JOINT_MAPS:
        return JOINT_MAPS[name_or_file]
    path = Path(name_or_file)
    if not path.is_file():
        raise FileNotFoundError(
            f"Joint map not found: '{name_or_file}' is neither a file nor one of {sorted(JOINT_MAPS)}."
        )
    table = read_yaml(path)
    if not isinstance(table, dict) or not all(isinstance(key, str) for key in table):
        raise ValueError(f"{path} must contain a mapping of SMPL-22 joints to source joints.")
    try:
        return joint_map_from_dict(path.stem, table)
    except ValueError as error:
        raise ValueError(f"{path}: {printable(str(error))}") from error


def _clip_names(root: Path) -> dict[str, Path]:
    """Clip name -> file: the bare file name; duplicates get their folders, then their suffix.

    Hidden files, such as the ._name files of macOS, are ignored.
    """
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() == ".bvh" and is_shown(p, root) and p.is_file())
    check_names(paths)
    relative = {p: p.relative_to(root) for p in paths}
    stems = Counter(p.stem for p in paths)
    places = Counter(place.with_suffix("").as_posix() for place in relative.values())
    names: dict[str, Path] = {}
    for path, place in relative.items():
        name = path.stem if stems[path.stem] == 1 else place.with_suffix("").as_posix()
        names[name if stems[path.stem] == 1 or places[name] == 1 else place.as_posix()] = path
    return names


def _licence(beside: Sequence[Mapping[str, Any]]) -> str:
    """All licenses that the metadata files name."""
    licences = {str(metadata.get("licence", "unknown")) for metadata in beside}
    return "; and ".join(sorted(UNKNOWN if licence == "unknown" else licence for licence in licences))


def _joint_convention(beside: Sequence[Mapping[str, Any]]) -> str | None:
    """The conventions that the metadata files name, that of most files first."""
    abouts = [metadata.get("metadata") for metadata in beside]
    names = Counter(convention_of(about) for about in abouts if isinstance(about, dict))
    return joined_convention([name for name, _ in names.most_common()])


def import_bvh_folder(
    root: str | Path,
    out: str | Path,
    *,
    conversion: Conversion,
    captions: CaptionTable | None = None,
    name: str = NAME,
    licence: str | None = None,
    split: str | None = None,
    min_frames: int = 1,
    canonical: bool = False,
    skip_bad: bool = False,
    jobs: int | None = None,
    overwrite: bool = False,
) -> StoreSummary:
    """Builds a store from every .bvh file below a folder.

    Args:
        root: folder.
        out: folder of the store.
        conversion: joint map, unit, up axis, frames to skip, rate.
        captions: content of a captions file, by file name or relative path.
        name: dataset name.
        licence: written into the store; None: what the metadata files of `export` beside the BVH files say.
        split: one split for all clips; None: 85 / 5 / 10 % by name, with at least one clip in each if there are three
            clips or more.
        min_frames: shorter clips are excluded.
        canonical: turn every clip to face +z at the origin; datasets do that anyway when they read.
        skip_bad: skip unreadable files, and captions of unknown clips, with a warning, instead of stopping.
        jobs: worker processes; by default one per core.
        overwrite: replace a finished store.

    Raises:
        FileNotFoundError: the folder does not exist or contains no .bvh file. ValueError: a file is malformed, or
            captions name unknown clips.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is no folder. Give the folder of the .bvh files.")
    files = _clip_names(root)
    if not files:
        raise FileNotFoundError(f"No .bvh file below {root}.")
    beside = [read_side_file(path) for path in files.values()]
    licence = _licence(beside) if licence is None else licence
    captioned: dict[str, list[str]] = {clip: [] for clip in files}
    if captions is not None:
        places = {clip: path.relative_to(root).as_posix() for clip, path in files.items()}
        captioned |= captions.of_clips(places, skip_unknown=skip_bad)
        if untold := sum(not texts for texts in captioned.values()):
            logger.warning("%d of %d clips have no caption.", untold, len(files))
    settings: dict[str, Any] = {
        "map": conversion.joint_map.name,
        "metres_per_unit": conversion.meters_per_unit,
        "up": conversion.up,
        "skip_frames": conversion.skip_frames,
        "retarget": conversion.retarget,
        "min_frames": min_frames,
        "add_offset_to_positions": conversion.add_offset_to_positions,
        "split": split,
        "source_fps": conversion.source_fps,
        "place": "canonical" if canonical else "world",
    }
    credit = f"\n{CMU_CREDIT}\n" if conversion.joint_map.name == "cmu" else ""
    writer = StoreWriter(
        Path(out),
        name=name,
        source=f"BVH files in {root.name}",
        licence=licence,
        notice=f"# {name}\n\nMotion from BVH files in {root.name}. Licence: {licence}.\n{credit}",
        settings=settings,
        fps=conversion.fps,
        joint_convention=retargeted_convention(_joint_convention(beside), conversion.retarget),
        overwrite=overwrite,
        origin=(root,),
    )

    def wanted() -> Iterator[BvhSource]:
        for clip, path in progress(files.items(), name, total=len(files), unit="clip"):
            if writer.is_done(clip):
                continue
            if content := path.read_bytes():
                yield BvhSource(clip, str(path), content)
            else:
                logger.warning("%s is empty. Skipped.", path)
                writer.drop(clip, "empty file")

    splits = split_by_names(list(files))

    def describe(clip: str) -> ClipMetadata:
        return ClipMetadata(splits[clip] if split is None else split)

    add_bvh_clips(
        writer,
        wanted(),
        describe,
        conversion,
        min_frames=min_frames,
        canonical=canonical,
        skip_bad=skip_bad,
        jobs=min(default_jobs() if jobs is None else jobs, len(files)),
    )

    def annotate(clip: ClipRecord) -> list[Caption]:
        return [Caption(text, tuple(pos_tokens(text))) for text in captioned[clip.name]]

    # By name, without clips of an interrupted run whose files no longer exist.
    return writer.finish(annotate=annotate, mirror_text=mirror_text, tokenize=pos_tokens, order=sorted(files))

"""Any folder of BVH files, with or without a captions file -> motion store."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from hmr4d.data.captions import mirror_text, pos_tokens
from hmr4d.data.importers.conversion import METRES_PER_UNIT, BvhSource, ClipFacts, Conversion, add_bvh_clips
from hmr4d.data.importers.parallel import default_jobs
from hmr4d.data.importers.splits import split_by_name
from hmr4d.data.joint_maps import JOINT_MAPS, JointMap, joint_map_from_dict
from hmr4d.data.store import Caption, ClipRecord, StoreSummary, StoreWriter
from hmr4d.utils.progress import progress

logger = logging.getLogger(__name__)

NAME = "bvh"
CMU_CREDIT = (
    "The data used in this project was obtained from mocap.cs.cmu.edu. "
    "The database was created with funding from NSF EIA-0196217."
)


def load_joint_map(name_or_file: str) -> JointMap:
    """A built-in joint map by name, or one from a YAML file: target joint -> name, or {from, to, at}."""
    if name_or_file in JOINT_MAPS:
        return JOINT_MAPS[name_or_file]
    path = Path(name_or_file)
    if not path.is_file():
        raise FileNotFoundError(
            f"Joint map not found: '{name_or_file}' is neither a file nor one of {sorted(JOINT_MAPS)}."
        )
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(table, dict):
        raise ValueError(f"{path} must hold a mapping of SMPL-22 joints to source joints.")
    return joint_map_from_dict(path.stem, table)


def metres_per_unit(unit: str) -> float:
    """Scale of a unit name (m, cm, inch, cmu) or of a number written out."""
    if unit in METRES_PER_UNIT:
        return METRES_PER_UNIT[unit]
    try:
        return float(unit)
    except ValueError:
        raise ValueError(f"Unit '{unit}' is neither a number nor one of {sorted(METRES_PER_UNIT)}.") from None


def read_captions_file(path: str | Path) -> dict[str, list[str]]:
    """File name (without .bvh) -> captions, in file order.

    `.json`: {"name": "caption"} or {"name": ["caption", ...]}. `.csv`: name,caption per line. `.tsv` and `.txt`:
    name<tab>caption. A first line that says "file" or "name" is a heading. A name may come on several lines.

    Raises:
        FileNotFoundError, ValueError: missing or malformed; names the line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Captions file not found: {path}.")
    text = path.read_text(encoding="utf-8-sig")
    captions: dict[str, list[str]] = {}
    if path.suffix.lower() == ".json":
        try:
            table = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{path} is no JSON: {error}.") from error
        if not isinstance(table, dict):
            raise ValueError(f"{path} must hold an object of file name -> caption or list of captions.")
        for key, value in table.items():
            values = [value] if isinstance(value, str) else value
            if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
                raise ValueError(f"{path}: '{key}' needs a caption or a list of captions, got {value!r}.")
            captions[_stem(key)] = [v.strip() for v in values if v.strip()]
        return captions
    rows = csv.reader(io.StringIO(text), delimiter="," if path.suffix.lower() == ".csv" else "\t")
    for row in rows:
        if not any(cell.strip() for cell in row) or (rows.line_num == 1 and row[0].strip().lower() in ("file", "name")):
            continue
        if len(row) < 2 or not row[0].strip() or not row[1].strip():
            raise ValueError(f"{path}, line {rows.line_num}: expected a file name and a caption, got {row}.")
        captions.setdefault(_stem(row[0]), []).append(row[1].strip())
    return captions


def _stem(name: str) -> str:
    name = name.strip().replace("\\", "/")
    return name[:-4] if name.lower().endswith(".bvh") else name


def _clip_names(root: Path) -> dict[str, Path]:
    """Clip name -> file: the bare file name, with its folders where that is taken twice."""
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() == ".bvh" and p.is_file())
    seen = Counter(p.stem for p in paths)
    return {p.stem if seen[p.stem] == 1 else p.relative_to(root).with_suffix("").as_posix(): p for p in paths}


def import_bvh_folder(
    root: str | Path,
    out: str | Path,
    *,
    conversion: Conversion,
    captions: Mapping[str, list[str]] | None = None,
    name: str = NAME,
    licence: str = "unknown; ask the owner of the files",
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
        captions: file name or relative path, without .bvh -> captions.
        name: dataset name.
        licence: written into the store.
        split: one split for all clips; None deals them out 85 / 5 / 10 % by name.
        min_frames: shorter clips are left out.
        canonical: turn every clip to face +z at the origin; datasets do that anyway when they read.
        skip_bad: leave out unreadable files, with a warning, instead of stopping.
        jobs: worker processes; by default one per core.
        overwrite: replace a finished store.

    Raises:
        FileNotFoundError: no such folder, or no .bvh file in it.
        ValueError: a file is malformed, or captions name none of the clips.
    """
    root = Path(root)
    files = _clip_names(root) if root.is_dir() else {}
    if not files:
        raise FileNotFoundError(f"No .bvh file below {root}.")
    told = {clip: _captions_of(clip, path, root, captions or {}) for clip, path in files.items()}
    if captions is not None:
        if not any(told.values()):
            raise ValueError(
                f"The captions name none of the {len(files)} clips below {root}; first clip: '{next(iter(files))}'."
            )
        if untold := sum(not texts for texts in told.values()):
            logger.warning("%d of %d clips have no caption.", untold, len(files))
    settings: dict[str, Any] = {
        "map": conversion.joint_map.name, "metres_per_unit": conversion.metres_per_unit, "up": conversion.up,
        "skip_frames": conversion.skip_frames, "retarget": conversion.retarget, "min_frames": min_frames,
        "add_offset_to_positions": conversion.add_offset_to_positions, "split": split,
        "place": "canonical" if canonical else "world",
    }  # fmt: skip
    credit = f"\n{CMU_CREDIT}\n" if conversion.joint_map.name == "cmu" else ""
    writer = StoreWriter(
        Path(out), name=name, source=f"BVH files in {root.name}", licence=licence,
        notice=f"# {name}\n\nMotion from BVH files in {root.name}. Licence: {licence}.\n{credit}", settings=settings,
        fps=conversion.fps, overwrite=overwrite, origin=(root,),
    )  # fmt: skip

    def wanted() -> Iterator[BvhSource]:
        for clip, path in progress(files.items(), name, total=len(files), unit="clip"):
            if not writer.is_done(clip):
                yield BvhSource(clip, str(path), path.read_bytes())

    def describe(clip: str) -> ClipFacts:
        return ClipFacts(split_by_name(clip) if split is None else split)

    add_bvh_clips(
        writer, wanted(), describe, conversion, min_frames=min_frames, canonical=canonical, skip_bad=skip_bad,
        jobs=min(default_jobs() if jobs is None else jobs, len(files)),
    )  # fmt: skip

    def annotate(clip: ClipRecord) -> list[Caption]:
        return [Caption(text, tuple(pos_tokens(text))) for text in told[clip.name]]

    # By name, without clips of an interrupted run whose files have gone since.
    return writer.finish(annotate=annotate, mirror_text=mirror_text, tokenize=pos_tokens, order=sorted(files))


def _captions_of(clip: str, path: Path, root: Path, captions: Mapping[str, list[str]]) -> list[str]:
    relative = path.relative_to(root).with_suffix("").as_posix()
    return next((captions[key] for key in (relative, clip, path.stem) if key in captions), [])

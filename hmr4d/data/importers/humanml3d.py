"""HumanML3D: joints (`joints3d.pth`, `joints3d.npz`, `new_joints/*.npy`), texts and split lists -> motion store."""

from __future__ import annotations

import logging
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from hmr4d.body.skeleton import SMPL22
from hmr4d.data.importers.splits import read_name_list
from hmr4d.data.mirrored_text import mirror_text
from hmr4d.data.store_writer import Caption, ClipRecord, StoreSummary, StoreWriter
from hmr4d.utils.progress import progress
from hmr4d.utils.safe_pickle import load_arrays_pickle
from hmr4d.utils.text_files import printable, read_text

logger = logging.getLogger(__name__)

NAME = "humanml3d"
FPS = 20.0
NOTICE = """# HumanML3D motion

Motion and text: HumanML3D (https://github.com/EricGuo5513/HumanML3D), Guo et al., "Generating Diverse and Natural 3D
Human Motions from Text", CVPR 2022. Built from AMASS and HumanAct12, whose licenses hold for the motion: non-commercial
research after registration; neither may be passed on.

Changes: joint positions gathered in one file.
"""
# A clip in several lists gets the first of these splits.
_SPLIT_PRIORITY = ("test", "val", "train", "train_val")
_JOINT_SOURCES = ("joints3d.pth", "joints3d.npz", "new_joints")


def read_texts(path: Path) -> list[Caption]:
    """Captions of one text file, as `captions_of` reads them."""
    return captions_of(read_text(path), str(path))


def captions_of(content: str, name: str) -> list[Caption]:
    """Captions in the content of a text file: `caption#word/POS word/POS#start#end` per line, NaN times count as 0.

    Raises:
        ValueError: a line has another layout; the message names file and line.
    """
    captions = []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        fields = line.strip().rsplit("#", 3)
        try:
            text, tokens, start, end = fields[0], fields[1], float(fields[2]), float(fields[3])
            if math.isinf(start) or math.isinf(end) or not text.strip():
                raise ValueError
        except (IndexError, ValueError):
            shown = printable(line[:80])
            raise ValueError(f"{name}, line {number}: expected 'caption#tokens#start#end', got '{shown}'.") from None
        start, end = (0.0 if math.isnan(value) else value for value in (start, end))
        captions.append(Caption(text, tuple(tokens.split()), start, end))
    return captions


def import_humanml3d(
    root: str | Path,
    out: str | Path,
    *,
    joints: str | Path | None = None,
    skip_bad: bool = False,
    overwrite: bool = False,
) -> StoreSummary:
    """Builds the store of a HumanML3D folder.

    Args:
        root: folder with `texts/`, split lists `*.txt`, and the joints.
        out: folder of the store.
        joints: file or folder of the joints; by default the first of joints3d.pth, joints3d.npz, new_joints/ in `root`.
        skip_bad: skip clips with unreadable joints or texts, with a warning, instead of stopping.
        overwrite: replace a finished store.

    Returns:
        Summary of the store. Clips of every length are kept; those with a coordinate that is not finite are excluded.

    Raises:
        FileNotFoundError: missing files; the message lists all of them. ValueError: a file is damaged, or not a motion
            of 22 joints; the message names it.
    """
    root = Path(root)
    source = (
        Path(joints) if joints is not None else next((root / n for n in _JOINT_SOURCES if (root / n).exists()), None)
    )
    missing = (
        [] if source is not None and source.exists() else [str(source or f"{root}/({' | '.join(_JOINT_SOURCES)})")]
    )
    missing += [] if (root / "texts").is_dir() else [str(root / "texts")]
    if missing or source is None:
        raise FileNotFoundError(f"HumanML3D files not found: {', '.join(missing)}. See docs/data.md for the layout.")
    readers = joint_readers(source)
    lists = {path.stem: read_name_list(path) for path in sorted(root.glob("[!.]*.txt"))}
    lists = {split: names for split, names in lists.items() if any(name in readers for name in names)}
    split_of: dict[str, str] = {}
    for split in sorted(
        lists, key=lambda s: _SPLIT_PRIORITY.index(s) if s in _SPLIT_PRIORITY else len(_SPLIT_PRIORITY)
    ):
        for name in lists[split]:
            split_of.setdefault(name, split)
    order = [*dict.fromkeys(n for names in lists.values() for n in names if n in readers)]
    order += sorted(readers.keys() - set(order))

    settings = {"joints": source.name, "place": "as given", "splits": sorted(lists)}
    writer = StoreWriter(
        Path(out),
        name=NAME,
        source="HumanML3D",
        licence="AMASS and HumanAct12 licences",
        notice=NOTICE,
        settings=settings,
        fps=FPS,
        overwrite=overwrite,
        origin=(root, source),
    )
    captions: dict[str, list[Caption]] = {}
    for name in progress(order, NAME, unit="clip"):
        text_file = root / "texts" / f"{name}.txt"
        try:
            captions[name] = read_texts(text_file) if text_file.is_file() else []
            if writer.is_done(name):
                continue
            positions = _checked(readers[name](), name, source)
        except ValueError as error:
            if not skip_bad:
                writer.flush()
                raise
            logger.warning("%s Skipped.", error)
            if not writer.is_done(name):
                writer.drop(name, "unreadable file")
            continue
        if not np.isfinite(positions).all():
            logger.warning("Clip '%s' has coordinates that are not finite; skipped.", name)
            writer.drop(name, "coordinates not finite")
            continue
        writer.add(name, positions, split=split_of.get(name, ""))
    if untold := sum(not c for c in captions.values()):
        logger.info("%d clips have no text file or an empty one.", untold)

    def annotate(clip: ClipRecord) -> list[Caption]:
        return captions[clip.name]

    return writer.finish(annotate=annotate, mirror_text=mirror_text, order=order, split_lists=lists)


def _checked(positions: np.ndarray, name: str, source: Path) -> np.ndarray:
    """The joints of a clip; ValueError unless they are (L, 22, 3) numbers, a single frame (22, 3) included."""
    place = source / f"{name}.npy" if source.is_dir() else f"{source}, clip '{name}'"
    if positions.ndim != 3 or positions.shape[1:] != (SMPL22.num_joints, 3) or not len(positions):
        raise ValueError(
            f"{place}: shape {positions.shape}; expected (L, {SMPL22.num_joints}, 3), joints of at least one frame."
        )
    if positions.dtype.kind not in "fiu":
        raise ValueError(f"{place}: values of type {positions.dtype}; expected numbers.")
    return positions


def joint_readers(source: Path) -> Mapping[str, Callable[[], np.ndarray]]:
    """Clip name -> function that returns its (L, 22, 3) joints."""
    if source.is_dir():
        return {path.stem: lambda path=path: _load_npy(path) for path in sorted(source.glob("[!.]*.npy"))}
    if source.suffix == ".npz":
        try:
            arrays = np.load(source, allow_pickle=False)
        except (ValueError, zipfile.BadZipFile, EOFError) as error:
            raise ValueError(f"{source} is damaged or no npz file: {error}.") from error
        return {key.removesuffix(".npy"): lambda key=key: _member(arrays, key, source) for key in arrays.files}
    table = load_arrays_pickle(source)
    if not isinstance(table, dict) or not all(isinstance(v, dict) and "joints3d" in v for v in table.values()):
        raise ValueError(f"{source} must contain a dict of clip name -> {{'joints3d': array}}.")
    return {
        str(key).removesuffix(".npy"): lambda value=value: np.asarray(value["joints3d"]) for key, value in table.items()
    }


def _member(arrays: NpzFile, key: str, source: Path) -> np.ndarray:
    try:
        return arrays[key]
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{source}, clip '{key}', is damaged: {error}.") from error


def _load_npy(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("it contains several arrays")
        return array
    except (ValueError, EOFError, SyntaxError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged or no npy file: {error}.") from error

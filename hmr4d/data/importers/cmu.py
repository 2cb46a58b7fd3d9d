"""CMU motion capture database, mocap.cs.cmu.edu: ASF/AMC files and BVH conversions -> motion store.

Every section of a clip in the caption files becomes a clip of the store, "<clip>@<start in seconds>".
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hmr4d.body.skeleton import SMPL22
from hmr4d.body.stance import FARTHEST
from hmr4d.data.importers.bvh_folder import CMU_CREDIT
from hmr4d.data.importers.capture_faults import Mended, floor_height, mend_jumps, rate_by_free_fall
from hmr4d.data.importers.cmu_captions import FOLDER, OTHER, CmuCaptions, Stretch, read_cmu_captions
from hmr4d.data.importers.cmu_files import CmuFile, CmuFolder, IndexRow, read_joints
from hmr4d.data.importers.splits import split_by_groups
from hmr4d.data.mirrored_text import mirror_text
from hmr4d.data.part_of_speech import pos_tokens
from hmr4d.data.store_writer import Caption, ClipRecord, StoreSummary, StoreWriter
from hmr4d.motion.resampling import resample_positions
from hmr4d.motion_files.asf_amc import AsfAmcError
from hmr4d.motion_files.bvh import BvhError
from hmr4d.utils.parallel import batches, default_jobs, ordered_map
from hmr4d.utils.progress import progress

logger = logging.getLogger(__name__)

NAME = "cmu"
SOURCE = "CMU Graphics Lab Motion Capture Database, mocap.cs.cmu.edu"
LICENCE = "free for all uses (CMU), see NOTICE"
NOTICE = f"""# CMU motion capture data

{CMU_CREDIT}

Terms as published there: the motions are free for all uses. They may be included in products that are sold, but the
data itself may not be resold directly, even in converted form. The converter of the BVH files (B. Hahne, cgspeed) sets
no further restrictions. Pass this folder, and what is derived from it, on free of charge and with this notice; do not
label the data MIT or CC0.

Changes: converted to 22 joint positions, 20 frames per second, meters, floor at y = 0; cut into pieces of one action;
short jumps of joints bridged; frame rates put right; captions added, in our own words. `store.json` names what was done
to single clips. Subjects 13, 88 and 90 carry another subject's proportions in the original form, and all people of the
Daz conversions those of one figure.
"""
DEFAULT_MIN_FRAMES = 16
PERSON_HEIGHT = (0.9, 2.2)  # meters from head to ankle along the bones
_BATCH_BYTES = 4 << 20
_CHAIN = SMPL22.indices("head", "neck", "spine3", "spine2", "spine1", "pelvis", "left_hip", "left_knee", "left_ankle")


@dataclass(frozen=True)
class Converted:
    """One source clip after conversion.

    Attributes:
        name: name of the clip. joints: (L, 22, 3) float32 meters at the rate of the store, floor at y = 0; None for an
            excluded clip.
        cut_s: seconds cut off at the start.
        note: changes, or "". reason: why the clip is excluded. error: message about an unreadable file.
    """

    name: str
    joints: np.ndarray | None = None
    cut_s: float = 0.0
    note: str = ""
    reason: str = ""
    error: str = ""


def convert(file: CmuFile, fps: float) -> Converted:
    """Joints of one file with corrected faults; position and heading in the studio are kept."""
    try:
        joints, claimed = read_joints(file)
    except (AsfAmcError, BvhError) as error:
        return Converted(file.name, error=str(error))
    chain = joints[0, list(_CHAIN)]
    height = float(np.linalg.norm(np.diff(chain, axis=0), axis=-1).sum())
    if not PERSON_HEIGHT[0] < height < PERSON_HEIGHT[1]:
        return Converted(file.name, reason=f"{height:.2f} m from head to ankle is no person's size")
    if (far := float(np.abs(joints).max())) > FARTHEST:
        return Converted(file.name, reason=f"a joint is {far:.3g} m away from the origin")
    rate = rate_by_free_fall(joints, claimed)
    try:
        mended = mend_jumps(joints, rate)
    except ValueError as error:
        return Converted(file.name, reason=str(error))
    kept = mended.joints
    kept = kept - floor_height(kept, rate) * np.array([0.0, 1.0, 0.0])
    kept = resample_positions(kept, rate, fps)
    return Converted(file.name, kept.astype(np.float32), mended.cut[0] / rate, _note(mended, claimed, rate))


def _note(mended: Mended, claimed: float, rate: float) -> str:
    notes = []
    if rate != claimed:
        notes.append(f"{rate:g} frames per second by free fall, not {claimed:g}")
    if any(mended.cut):
        notes.append(f"{mended.cut[0]} + {mended.cut[1]} frames with jumps cut off at the ends")
    if mended.bridged:
        notes.append(f"jumps bridged in {mended.bridged} frames")
    return "; ".join(notes)


@dataclass(frozen=True)
class Piece:
    """A section as a clip of the store: its name, labels and captions, and the section itself."""

    name: str
    stretch: Stretch
    labels: dict[str, str]


def pieces_of(clip: str, index: dict[str, IndexRow], captions: CmuCaptions) -> list[Piece]:
    """Pieces of a source clip; one without action for a clip that has neither captions nor a description."""
    description = index.get(clip, IndexRow()).description
    pieces = []
    for stretch in captions.stretches(clip, description):
        name = f"{clip}@{stretch.start:g}" if clip in captions.clips else clip
        labels = {"content": stretch.action.group, "action": stretch.action.name, "description": description or ""}
        pieces.append(Piece(name, stretch, labels))
    return pieces


def cut_piece(converted: Converted, stretch: Stretch, fps: float) -> np.ndarray:
    """(L, 22, 3) frames of a stretch.

    Raises:
        ValueError: the stretch lies outside the clip; names clip and stretch.
    """
    assert converted.joints is not None
    seconds = len(converted.joints) / fps + converted.cut_s
    if stretch.end is not None and stretch.end > seconds + 0.1:
        raise ValueError(
            f"Captions of clip '{converted.name}': the stretch [{stretch.start:g}, {stretch.end:g}] ends after the "
            f"clip, which has {seconds:.2f} s."
        )
    start = max(0, round((stretch.start - converted.cut_s) * fps))
    end = len(converted.joints) if stretch.end is None else max(0, round((stretch.end - converted.cut_s) * fps))
    return converted.joints[start:end]


def import_cmu(
    root: str | Path,
    out: str | Path,
    *,
    captions: str | Path = FOLDER,
    min_frames: int = DEFAULT_MIN_FRAMES,
    fps: float = 20.0,
    skip_bad: bool = False,
    jobs: int | None = None,
    overwrite: bool = False,
) -> StoreSummary:
    """Builds the store of the CMU data, a part of it or all.

    Args:
        root: folder or tar archive with .amc and .asf or .bvh files, and index.csv if there is one.
        out: folder of the store.
        captions: folder of caption files.
        min_frames: shorter pieces (at `fps`) are excluded.
        fps: frames per second of the store.
        skip_bad: skip unreadable files, with a warning, instead of stopping.
        jobs: worker processes; by default one per core.
        overwrite: replace a finished store.

    Raises:
        FileNotFoundError, ValueError: the source or the captions are missing, damaged or inconsistent.
    """
    caption_table = read_cmu_captions(captions)
    folder = CmuFolder.open(Path(root))
    pieces = {clip: pieces_of(clip, folder.index, caption_table) for clip in sorted(folder.clips)}
    splits = split_by_groups({clip: [p.labels["content"] for p in found] for clip, found in pieces.items()})
    _log_captions(folder, caption_table, pieces)
    settings = {
        "min_frames": min_frames,
        "resampling": "cubic spline of positions",
        "place": "world",
        "captions": sorted(path.name for path in Path(captions).glob("*.yaml")),
    }
    writer = StoreWriter(
        Path(out),
        name=NAME,
        source=SOURCE,
        licence=LICENCE,
        notice=NOTICE,
        settings=settings,
        fps=fps,
        joint_convention=NAME,
        overwrite=overwrite,
        origin=(Path(root), Path(captions)),
    )
    for clip in folder.clips.keys() & caption_table.left_out.keys():
        writer.drop(clip, caption_table.left_out[clip])

    def is_done(clip: str) -> bool:
        names = [piece.name for piece in pieces[clip]] or [clip]
        return writer.is_done(clip) or all(map(writer.is_done, names))

    wanted = {clip for clip in folder.clips if not is_done(clip)}
    files = batches(folder.files(wanted), lambda file: len(file.content), _BATCH_BYTES)
    batch = _BatchConversion(fps)
    results = itertools.chain.from_iterable(ordered_map(batch, files, default_jobs() if jobs is None else jobs))
    try:
        for converted in progress(results, NAME, total=len(wanted), unit="clip"):
            if converted.error and not skip_bad:
                raise ValueError(converted.error)
            _add(writer, converted, pieces[converted.name], splits[converted.name], min_frames)
    finally:
        writer.flush()  # an error or Ctrl-C loses no finished clip

    sentences = {piece.name: piece.stretch.action.sentences for found in pieces.values() for piece in found}

    def annotate(clip: ClipRecord) -> list[Caption]:
        return [Caption(text, tuple(pos_tokens(text))) for text in sentences.get(clip.name, ())]

    return writer.finish(annotate=annotate, mirror_text=mirror_text, tokenize=pos_tokens)


@dataclass(frozen=True)
class _BatchConversion:
    """`convert` over a batch, for worker processes."""

    fps: float

    def __call__(self, batch: list[CmuFile]) -> list[Converted]:
        return [convert(file, self.fps) for file in batch]


def _add(writer: StoreWriter, converted: Converted, pieces: Sequence[Piece], split: str, min_frames: int) -> None:
    """Passes the pieces of a source clip to the writer, or the reason for its exclusion."""
    if converted.joints is None:
        if converted.error:
            logger.warning("%s Skipped.", converted.error)
        else:
            logger.info("%s is skipped: %s.", converted.name, converted.reason)
        writer.drop(converted.name, "unreadable file" if converted.error else converted.reason)
        return
    if converted.note:
        writer.note(converted.name, converted.note)
    whole = [(converted.name, converted.joints, {"content": OTHER, "action": "", "description": ""})]
    cut = [(p.name, cut_piece(converted, p.stretch, writer.fps), p.labels) for p in pieces]
    for name, joints, labels in cut or whole:
        if writer.is_done(name):
            continue
        if len(joints) < max(min_frames, 1):
            writer.drop(name, f"shorter than {min_frames} frames")
        else:
            writer.add(name, joints, split=split, labels=labels)


def _log_captions(folder: CmuFolder, caption_table: CmuCaptions, pieces: dict[str, list[Piece]]) -> None:
    """Counts clips without own captions, and captions without a clip."""
    others = [clip for clip, found in pieces.items() if any(p.labels["content"] == OTHER for p in found)]
    silent = [clip for clip, found in pieces.items() if not found and clip not in caption_table.left_out]
    if others:
        logger.info("%d clips have CMU's own description as their only caption, group '%s'.", len(others), OTHER)
    if silent:
        logger.warning("%d clips have no caption at all, such as '%s'.", len(silent), silent[0])
    if unused := sorted(caption_table.clips.keys() - folder.clips.keys()):
        logger.info("%d clips of the caption files are not in %s, such as '%s'.", len(unused), folder.root, unused[0])
    counts = Counter(p.labels["content"] for found in pieces.values() for p in found)
    logger.info("Groups: %s.", ", ".join(f"{group} {count}" for group, count in counts.most_common()))

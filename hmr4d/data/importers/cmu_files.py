"""Files of the CMU motion capture database: which clips are there, and joints of each in meters at the file's own rate.

Three forms are read: the original ASF/AMC, BVH conversions with 31 joints, and those to the Daz figure with 43.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import logging
import lzma
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from hmr4d.motion_files.asf_amc import read_amc, read_asf
from hmr4d.motion_files.bvh import BvhClip, BvhError, read_bvh
from hmr4d.motion_files.joint_maps import CMU, CMU_ASF, CMU_DAZ
from hmr4d.motion_files.number_words import number_or_none
from hmr4d.utils.text_files import TextError, decode_text, printable

logger = logging.getLogger(__name__)

INDEX = "index.csv"
AMC_FPS = 120.0  # default of the database
METERS_PER_UNIT = 0.0254 / 0.45  # of 31-joint BVH; the Daz conversions are in centimeters
# The first frame of a 31-joint conversion is an added T-pose; in a Daz conversion it is blended over ten frames.
ADDED_FRAMES, ADDED_FRAMES_DAZ = 1, 10
_SUBJECT_CLIP = re.compile(r"\d+_\d+")


@dataclass(frozen=True)
class IndexRow:
    """Entry of a clip in index.csv: frames per second and CMU's own description, or None."""

    fps: float | None = None
    description: str | None = None
    form: str = ""


@dataclass(frozen=True)
class CmuFile:
    """One clip to convert.

    Attributes:
        name: clip name, such as "02_01" or "salsa/01".
        file_name: name of the file in messages.
        content: bytes of the .amc or .bvh file.
        skeleton: name and bytes of the .asf file of an .amc file. fps: from the index; None: from the file.
    """

    name: str
    file_name: str
    content: bytes
    skeleton: tuple[str, bytes] | None = None
    fps: float | None = None


@dataclass
class CmuFolder:
    """Clips of a folder or of a tar archive by name; contents are read on demand.

    Attributes:
        root: folder or archive.
        index: clip -> row of index.csv; empty without one.
        clips: clip name -> path of its file within the root.
    """

    root: Path
    index: dict[str, IndexRow] = field(default_factory=dict)
    clips: dict[str, str] = field(default_factory=dict)
    _skeletons: dict[str, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, root: Path) -> CmuFolder:
        """Scans the root once.

        Raises:
            FileNotFoundError: the root is missing, or skeletons (.asf) of motion files are; the message lists all of
                them.
            ValueError: a damaged archive or index, or no clip.
        """
        folder = cls(root)
        paths: list[str] = []
        for path, content in folder._members(lambda path: path.suffix == ".asf" or path.name == INDEX):
            if content is None:
                paths.append(path)
            elif path.endswith(".asf"):
                folder._skeletons[path] = content
            else:
                folder.index = read_index(content, path)
        folder._choose(paths)
        if not folder.clips:
            raise ValueError(f"No .amc or .bvh file in {root}. Give the folder or tar archive of the CMU database.")
        missing = [p for p in folder.clips.values() if p.endswith(".amc") and folder._skeleton_of(p) is None]
        if missing:
            wanted = sorted({str(_skeleton_path(PurePosixPath(path))) for path in missing})
            raise FileNotFoundError(f"Skeletons of {len(missing)} motions are missing in {root}: {', '.join(wanted)}.")
        return folder

    def files(self, wanted: set[str]) -> Iterator[CmuFile]:
        """Contents of the clips in `wanted`: those of a folder by name, those of an archive in its order."""
        names = {path: name for name, path in self.clips.items() if name in wanted}
        for path, content in self._members(lambda path: str(path) in names):
            if content is not None and path in names:
                row = self.index.get(names[path], IndexRow())
                shown = f"{self.root.name}:{path}" if self.root.is_file() else str(self.root / path)
                skeleton = self._skeleton_of(path) if path.endswith(".amc") else None
                yield CmuFile(names[path], shown, content, skeleton, row.fps)

    def _choose(self, paths: list[str]) -> None:
        """Names the clips; for a clip in two forms, the form of the index, else ASF/AMC."""
        twice = 0
        for path in sorted(paths):  # .amc before .bvh
            name = clip_name(PurePosixPath(path))
            if name in self.clips:
                twice += 1
                if self.index.get(name, IndexRow()).form != PurePosixPath(path).suffix[1:]:
                    continue
            self.clips[name] = path
        if twice:
            logger.info("%d clips are there in two forms; one of each is read.", twice)
        if self.index and (absent := [name for name in self.clips if name not in self.index]):
            logger.warning("%d clips are not in %s, such as '%s'.", len(absent), INDEX, absent[0])

    def _skeleton_of(self, path: str) -> tuple[str, bytes] | None:
        wanted = _skeleton_path(PurePosixPath(path))
        found = [p for p in self._skeletons if p == str(wanted)]
        found += [p for p in self._skeletons if PurePosixPath(p).name == wanted.name]
        return (found[0], self._skeletons[found[0]]) if found else None

    def _members(self, wants_content: Callable[[PurePosixPath], bool]) -> Iterator[tuple[str, bytes | None]]:
        """(path, content or None) of every .amc, .bvh, .asf and index file."""
        if self.root.is_dir():
            for file in sorted(self.root.rglob("*")):
                path = PurePosixPath(file.relative_to(self.root).as_posix())
                if file.is_file() and _is_ours(path):
                    yield str(path), file.read_bytes() if wants_content(path) else None
            return
        if not self.root.is_file():
            raise FileNotFoundError(f"CMU data not found: {self.root}. Pass the folder or a tar archive of it.")
        try:
            with tarfile.open(self.root, mode="r|*") as archive:
                for member in archive:
                    path = PurePosixPath(member.name)
                    if member.isfile() and _is_ours(path):
                        stream = archive.extractfile(member) if wants_content(path) else None
                        yield str(path), None if stream is None else stream.read()
        except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
            raise ValueError(f"{self.root} cannot be read as a tar archive: {error}. Is it complete?") from error


def _is_ours(path: PurePosixPath) -> bool:
    return (path.suffix in (".amc", ".bvh", ".asf") or path.name == INDEX) and not path.name.startswith("._")


def clip_name(path: PurePosixPath) -> str:
    """ "02_01" of "02/02_01.amc"; "salsa/01" of "salsa/01.bvh"."""
    return path.stem if _SUBJECT_CLIP.fullmatch(path.stem) else f"{path.parent.name}/{path.stem}"


def _skeleton_path(path: PurePosixPath) -> PurePosixPath:
    return path.with_name(f"{path.stem.rsplit('_', 1)[0]}.asf")


def read_index(content: bytes, name: str) -> dict[str, IndexRow]:
    """Rows of index.csv by clip: columns clip, format, fps, description; others are not needed.

    Raises:
        ValueError: a column is missing, a rate is no number, or a clip is listed twice; names the line.
    """
    rows = csv.DictReader(io.StringIO(decode_text(content, name), newline=""))
    try:
        return _index_rows(rows, name)
    except csv.Error as error:
        raise TextError(f"{name}, line {rows.line_num}: {error}; is a quotation mark not closed?") from error


def _index_rows(rows: csv.DictReader[str], name: str) -> dict[str, IndexRow]:
    if missing := {"clip", "description"} - set(rows.fieldnames or ()):
        found = printable(str(rows.fieldnames))[:200]
        raise ValueError(f"{name} lacks the columns {', '.join(sorted(missing))}; it has {found}.")
    index: dict[str, IndexRow] = {}
    for row in rows:
        place, clip, rate = f"{name}, line {rows.line_num}", (row["clip"] or "").strip(), row.get("fps") or ""
        fps = number_or_none(rate) if rate else None
        if rate and (fps is None or fps <= 0):
            raise ValueError(f"{place}: fps is '{printable(rate[:40])}', expected a number above 0.")
        if not clip:
            raise ValueError(f"{place}: the row names no clip.")
        if clip in index:
            raise ValueError(f"{place}: clip '{printable(clip[:80])}' is listed twice.")
        index[clip] = IndexRow(fps, (row["description"] or "").strip() or None, row.get("format") or "")
    return index


def restore_lost_bones(clip: BvhClip) -> BvhClip:
    """A 31-joint BVH conversion with the bones that the converter lost restored.

    In the ASF files the thorax lies between the "upperback" bone and neck and shoulders, and the last third of the
    forearm before the hand. The conversions keep the joints behind these bones but give them no distance, so that the
    neck and the shoulders would sit 12 cm too low and the wrists amid the forearm. In 16 ASF files the thorax is the
    upperback bone to 1 .. 10 mm, and the last third of the forearm half as long as the rest to 0.1 mm.
    """
    index = {name: i for i, name in enumerate(clip.joint_names)}
    offsets = clip.offsets.copy()
    rules = {"Neck": ("Spine1", 1.0), "LeftShoulder": ("Spine1", 1.0), "RightShoulder": ("Spine1", 1.0)}
    rules |= {"LeftFingerBase": ("LeftHand", 0.5), "LThumb": ("LeftHand", 0.5)}
    rules |= {"RightFingerBase": ("RightHand", 0.5), "RThumb": ("RightHand", 0.5)}
    for joint, (bone, share) in rules.items():
        if joint in index and bone in index and not offsets[index[joint]].any():
            offsets[index[joint]] = share * offsets[index[bone]]
    return dataclasses.replace(clip, offsets=offsets)


def upright_head(clip: BvhClip) -> BvhClip:
    """A Daz conversion with the head joint above the neck, as in the other forms, for a person who looks ahead.

    Its original head joint is 2 cm further forward: in 22 clips with a standing person, the neck points 17 degrees
        forward.
    """
    offsets = clip.offsets.copy()
    head = clip.joint_names.index("head")
    angle = np.radians(17.0)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), np.sin(angle)], [0, -np.sin(angle), np.cos(angle)]])
    offsets[head] = turn @ offsets[head]
    return dataclasses.replace(clip, offsets=offsets)


def read_joints(file: CmuFile) -> tuple[np.ndarray, float]:
    """((T, 22, 3) meters, y up, place of the studio; frames per second) of one clip of any form.

    Raises:
        AsfAmcError, BvhError: the file cannot be read or has unknown joints.
    """
    if file.skeleton is not None:
        skeleton_name, skeleton = file.skeleton
        clip = read_amc(file.content, read_asf(skeleton, name=skeleton_name), name=file.file_name)
        try:
            joints = CMU_ASF.apply(clip.forward_kinematics(), clip.skeleton.joint_names)
        except ValueError as error:
            raise BvhError(f"{file.file_name}: {error}.") from None
        return joints, file.fps or clip.fps or AMC_FPS
    bvh = read_bvh(file.content, name=file.file_name)
    if {"Hips", "LHipJoint"} <= set(bvh.joint_names):
        bvh, joint_map, scale, added = restore_lost_bones(bvh), CMU, METERS_PER_UNIT, ADDED_FRAMES
    elif {"hip", "abdomen"} <= set(bvh.joint_names):
        bvh, joint_map, scale, added = upright_head(bvh), CMU_DAZ, 0.01, ADDED_FRAMES_DAZ
    else:
        raise BvhError(
            f"{file.file_name}: joints '{bvh.joint_names[0]}', ... are of no known conversion of the CMU database."
        )
    if bvh.num_frames <= added:
        raise BvhError(f"{file.file_name}: {bvh.num_frames} frames, of which the first {added} are added ones.")
    try:
        joints = joint_map.apply(bvh.forward_kinematics(end_sites=True)[added:], bvh.point_names, bvh.end_site_of)
    except ValueError as error:
        raise BvhError(f"{file.file_name}: {error}.") from None
    return joints * scale, file.fps or bvh.fps

"""What makes a HumanML3D clip: rows of index.csv, the frames cut, axes, mirroring, and the counts of the release."""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath

import numpy as np
import yaml

from hmr4d.body.skeleton import SMPL22
from hmr4d.utils.text_files import read_text

FPS = 20  # the rate that all of HumanML3D assumes; a clip's true rate is its source's divided by a whole number
HUMANACT12 = "humanact12"
MAKES = ("new_joints", "joints3d")  # the two published forms of the clips
_INDEX_COLUMNS = ("source_path", "start_frame", "end_frame", "new_name")
# Joints of the hands that are exchanged in a mirrored raw clip of 52 joints. The fingers of the two lists do not
# correspond, as in the published clips.
_LEFT_HAND = (22, 23, 24, 34, 35, 36, 25, 26, 27, 31, 32, 33, 28, 29, 30)
_RIGHT_HAND = (43, 44, 45, 46, 47, 48, 40, 41, 42, 37, 38, 39, 49, 50, 51)


@dataclass(frozen=True)
class Release:
    """Metadata of the published data set.

    Attributes:
        rows_of: rows of index.csv per subset; HumanAct12 counts as one.
        subset_of: subset by every name of its folder or archive.
        dropped_frames: frames at 20 fps dropped from the start of a source, per subset.
        counts: all other counts.
        splits: names per split list, mirrored ones included.
        one_frame_clips: clips too short for features.
    """

    rows_of: Mapping[str, int]
    subset_of: Mapping[str, str]
    dropped_frames: Mapping[str, int]
    counts: Mapping[str, int]
    splits: Mapping[str, int]
    one_frame_clips: frozenset[str]


@functools.lru_cache(maxsize=1)
def published_release() -> Release:
    """The metadata packaged in `resources/humanml3d_release.yaml`."""
    text = (resources.files("hmr4d.data") / "resources" / "humanml3d_release.yaml").read_text(encoding="utf-8")
    raw = yaml.safe_load(text)
    subsets = raw["subsets"]
    return Release(
        rows_of={name: entry["rows"] for name, entry in subsets.items()},
        subset_of={n: name for name, entry in subsets.items() for n in (name, *entry.get("aliases", ()))},
        dropped_frames={n: entry["dropped_frames"] for n, entry in subsets.items() if "dropped_frames" in entry},
        counts={key: value for key, value in raw.items() if isinstance(value, int)},
        splits=raw["splits"],
        one_frame_clips=frozenset(raw["one_frame_clips"]),
    )


@dataclass(frozen=True)
class IndexRow:
    """One clip of index.csv.

    Attributes:
        name: clip name without ending, for example "000021".
        source: path of the motion file as index.csv gives it.
        start, end: frames at 20 fps, counted after the dropped ones; `end` is not included.
    """

    name: str
    source: str
    start: int
    end: int

    @property
    def is_humanact12(self) -> bool:
        return HUMANACT12 in self.source

    @property
    def key(self) -> str:
        """Name of the source file, independent of its location and packaging."""
        return source_key(PurePosixPath(self.source)) or self.source

    @property
    def subset(self) -> str:
        return self.key.partition("/")[0]


def source_key(path: PurePosixPath) -> str | None:
    """`<subset>/<rest>` of a motion file: published subset name, no ending, spaces as underscores; None: no subset.

    HumanAct12 files have their bare name because their folders differ between copies.
    """
    if HUMANACT12 in path.parts:
        return f"{HUMANACT12}/{path.stem}"
    subset_of = published_release().subset_of
    place = next((i for i, part in enumerate(path.parts[:-1]) if part in subset_of), None)
    if place is None:
        return None
    subset = subset_of[path.parts[place]]
    while place + 2 < len(path.parts) and subset_of.get(path.parts[place + 1]) == subset:
        place += 1  # an archive unpacked into a folder with its name
    return "/".join([subset, *path.parts[place + 1 : -1], path.stem]).replace(" ", "_")


def read_index(path: str | Path) -> list[IndexRow]:
    """Rows of index.csv, in file order.

    Raises:
        FileNotFoundError: no such file.
        ValueError: columns are missing, a row is malformed, or a name appears twice.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"index.csv not found: {path}. It comes with the HumanML3D repository.")
    with io.StringIO(read_text(path), newline="") as file:
        reader = csv.DictReader(file)
        if missing := [c for c in _INDEX_COLUMNS if c not in (reader.fieldnames or ())]:
            raise ValueError(f"{path} has no column {', '.join(missing)}; expected {', '.join(_INDEX_COLUMNS)}.")
        rows: dict[str, IndexRow] = {}
        for number, cells in enumerate(reader, start=2):
            try:
                name = PurePosixPath(cells["new_name"].strip()).stem
                row = IndexRow(name, cells["source_path"].strip(), int(cells["start_frame"]), int(cells["end_frame"]))
            except (ValueError, AttributeError, TypeError):
                raise ValueError(
                    f"{path}, line {number}: expected a path, two frame numbers and a name, got {list(cells.values())}."
                ) from None
            if not name or name in rows:
                raise ValueError(f"{path}, line {number}: the name '{name}' is empty or appears twice.")
            rows[name] = row
    if not rows:
        raise ValueError(f"{path} has no rows.")
    return list(rows.values())


def crop_clip(joints3d: np.ndarray, row: IndexRow) -> np.ndarray:
    """The frames of a source that make a clip.

    AMASS: frames are dropped from the start depending on the subset, the rest is cut to [start, end), and x is negated,
        which together with the exchange of y and z is a proper rotation from z up to y up. HumanAct12 files are already
        clips and not changed.

    Args:
        joints3d: (T, J, 3) meters at 20 fps, y and z exchanged for AMASS.
        row: row of index.csv.
    """
    if row.is_humanact12:
        return joints3d
    dropped = next((n for subset, n in published_release().dropped_frames.items() if subset in row.key), 0)
    return joints3d[dropped:][row.start : row.end] * np.asarray([-1, 1, 1], joints3d.dtype)


def mirror_clip(joints3d: np.ndarray) -> np.ndarray:
    """Raw clip (L, J, 3), J 22, 24 or 52, reflected in x = 0, with left and right joints exchanged."""
    order = np.arange(joints3d.shape[1])
    order[: SMPL22.num_joints] = SMPL22.mirror_order
    if len(order) > 24:
        order[list(_LEFT_HAND)], order[list(_RIGHT_HAND)] = _RIGHT_HAND, _LEFT_HAND
    return joints3d[:, order] * np.asarray([-1, 1, 1], joints3d.dtype)


def count_differences(counts: Mapping[str, int]) -> list[str]:
    """Messages about differences from the release.

    Args:
        counts: by the names of `Release.counts`, "clips <subset>" and "split <name>"; missing ones are not compared.
    """
    release = published_release()
    expected = dict(release.counts)
    expected |= {f"clips {subset}": rows for subset, rows in release.rows_of.items()}
    expected |= {f"split {split}": names for split, names in release.splits.items()}
    return [
        f"{what}: {counts[what]:,}, the release has {wanted:,}"
        for what, wanted in expected.items()
        if what in counts and counts[what] != wanted
    ]


def rows_per_subset(rows: Sequence[IndexRow]) -> dict[str, int]:
    """Rows of index.csv per subset, with 0 for subsets of the release without rows."""
    counts = dict.fromkeys(published_release().rows_of, 0)
    for row in rows:
        counts[row.subset] = counts.get(row.subset, 0) + 1
    return counts

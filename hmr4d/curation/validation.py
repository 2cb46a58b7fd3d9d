"""Validation of a curated data set: completeness and consistency."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hmr4d.curation.clip_statistics import VIEWPOINTS, faults_of_table
from hmr4d.curation.manifest import read_manifest
from hmr4d.curation.records import Record, read_records
from hmr4d.curation.shards import STATISTICS, shard_files
from hmr4d.curation.trimming import TrimRules, clip_id
from hmr4d.data.keypoint_clips import keypoint_faults
from hmr4d.utils.text_files import load_unique_json, read_text

FAR = 4.0  # image sizes; largest distance of keypoints from the image center
_NEEDED: Mapping[str, type | tuple[type, ...]] = {
    "clip_id": str, "source": dict, "start_s": (int, float), "end_s": (int, float), "fps": (int, float),
    "width": int, "height": int, "n_frames": int, "detector": str, "detector_version": str, "filters": dict,
    "captions": list, "viewpoint_counts": dict, "mean_speed": (int, float), "split": str, "review": dict,
}  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """A fault of a data set.

    Attributes:
        place: file, or shard and clip.
        sentence: actual and expected value.
    """

    place: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.place}: {self.sentence}"


def validate(folder: Path, *, needs_captions: bool = True) -> Iterator[Fault]:
    """All faults of a data set: shapes, ranges, ids, captions, splits, and consistency of shards with manifest and
    statistics.

    Args:
        folder: folder of the data set.
        needs_captions: whether a clip without a caption is a fault.

    Raises:
        FileNotFoundError: there are no shards, or no manifest.
    """
    rows = {row["clip_id"]: row for row in read_manifest(folder)}
    seen: dict[str, str] = {}
    splits: dict[str, str] = {}
    for file in shard_files(folder):
        try:
            for record in read_records(file):
                place = f"{file.name}, clip {record.key}"
                for sentence in clip_faults(record, needs_captions=needs_captions):
                    yield Fault(place, sentence)
                if first := seen.get(record.key):
                    yield Fault(place, f"its id is also in {first}; expected it once.")
                seen[record.key] = file.name
                yield from _beside_manifest(place, record, file.name, rows.get(record.key))
                source, split = str(record.meta.get("source", {}).get("id")), str(record.meta.get("split"))
                if splits.setdefault(source, split) != split:
                    yield Fault(place, f"it is in {split}, other clips of {source} in {splits[source]}.")
        except ValueError as error:
            yield Fault(file.name, str(error))
    for lost in sorted(rows.keys() - seen.keys()):
        yield Fault("manifest", f"clip {lost} is in no shard; expected in {rows[lost]['shard']}.")
    yield from _beside_statistics(folder / STATISTICS, len(seen))


def clip_faults(record: Record, *, needs_captions: bool = True) -> list[str]:
    """The faults of one clip, one message each."""
    meta, keypoints = record.meta, record.arrays.get("kpts")
    if keypoints is None:
        return [f"{record.key}.kpts.npy is missing."]
    faults = keypoint_faults(keypoints)
    for name, kind in _NEEDED.items():
        if not isinstance(meta.get(name), kind) or isinstance(meta.get(name), bool):
            faults.append(f"'{name}' is {meta.get(name)!r}; expected {_name_of(kind)}.")
    if faults:
        return faults
    if meta["n_frames"] != len(keypoints):
        faults.append(f"'n_frames' is {meta['n_frames']}, but the clip has {len(keypoints)} frames.")
    if not (keypoints[:, -1] == [meta["width"], meta["height"], 1]).all():
        faults.append(
            f"its image size is {meta['width']} x {meta['height']}, but row 17 of the keypoints contains "
            f"{keypoints[0, -1]}."
        )
    seconds = meta["end_s"] - meta["start_s"]
    if abs(seconds - len(keypoints) / meta["fps"]) > 0.5 / meta["fps"]:
        faults.append(f"it lasts {seconds:g} s by its times, and {len(keypoints) / meta['fps']:g} s by its frames.")
    rules = TrimRules()
    if not 1 <= len(keypoints) <= rules.max_frames or meta["fps"] != 30:
        faults.append(
            f"it has {len(keypoints)} frames at {meta['fps']:g} fps; expected up to {rules.max_frames} at 30."
        )
    if (
        meta["clip_id"] != record.key
        or clip_id(meta["source"].get("id", ""), meta["start_s"], meta["end_s"]) != record.key
    ):
        faults.append("its id does not match its source and times.")
    size = np.array([meta["width"], meta["height"]])
    visible = keypoints[:, :-1][keypoints[:, :-1, 2] > 0]
    if (np.abs(visible[:, :2] / size - 0.5) > FAR).any():
        faults.append(f"a keypoint lies more than {FAR:g} image sizes from the center.")
    if set(meta["viewpoint_counts"]) != set(VIEWPOINTS) or sum(meta["viewpoint_counts"].values()) != len(keypoints):
        faults.append(f"its viewpoint_counts {meta['viewpoint_counts']} do not add up to {len(keypoints)} frames.")
    if meta["split"] not in ("train", "val", "test"):
        faults.append(f"its split is '{meta['split']}'; expected train, val or test.")
    texts = [caption.get("text") for caption in meta["captions"] if isinstance(caption, dict)]
    if needs_captions and not texts:
        faults.append("it has no caption.")
    if not all(isinstance(text, str) and text.strip() for text in texts) or len(texts) != len(meta["captions"]):
        faults.append("a caption is empty or not text.")
    boxes = record.arrays.get("bbox_xyxy")
    if boxes is not None and (boxes.shape != (len(keypoints), 4) or not np.isfinite(boxes).all()):
        faults.append(f"its boxes have shape {boxes.shape}; expected finite ({len(keypoints)}, 4).")
    return faults


def _name_of(kind: type | tuple[type, ...]) -> str:
    return " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))


def _beside_manifest(place: str, record: Record, shard: str, row: dict[str, Any] | None) -> Iterator[Fault]:
    if row is None:
        yield Fault(place, "it is not in the manifest.")
        return
    found = {name: record.meta.get(name) for name in ("split", "n_frames", "width", "height")} | {"shard": shard}
    yield from (
        Fault(place, f"'{name}' is {value!r} here and {row[name]!r} in the manifest.")
        for name, value in found.items()
        if row[name] != value
    )


def _beside_statistics(path: Path, clips: int) -> Iterator[Fault]:
    if not path.is_file():
        yield Fault(path.name, "it is missing.")
        return
    table = load_unique_json(read_text(path), str(path))
    yield from (Fault(path.name, sentence) for sentence in faults_of_table(table))
    if table["clips"] != clips:
        yield Fault(path.name, f"it counts {table['clips']} clips, but the shards have {clips}.")

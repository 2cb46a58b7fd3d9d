"""Converts a curated data set to a 2D store for training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hmr4d.body.skeleton import COCO17
from hmr4d.curation.filters import FPS
from hmr4d.curation.shards import SHARDS, read_clips
from hmr4d.data.keypoint_clips import keypoint_faults
from hmr4d.data.mirrored_text import mirror_text
from hmr4d.data.part_of_speech import pos_tokens
from hmr4d.data.store import KEYPOINTS
from hmr4d.data.store_writer import Caption, ClipRecord, StoreSummary, StoreWriter

UNKNOWN = "unknown; ask the owners of the videos"


def export_store(folder: Path, out: Path, *, name: str = "motionweb", overwrite: bool = False) -> StoreSummary:
    """Writes the captioned clips of a data set as a 2D store. Clips without caption and damaged clips are dropped.

    Args:
        folder: folder of the data set.
        out: folder of the store.
        name: name of the store.
        overwrite: replace a finished store.

    Raises:
        FileNotFoundError: there are no shards.
        ValueError: no clip remains.
    """
    licences: Counter[str] = Counter()
    for _, record in read_clips(folder):
        licences[record.meta["source"]["licence"] or UNKNOWN] += 1
    licence = ", ".join(sorted(licences))
    licence_lines = "\n".join(f"- {kind}: {count} clips" for kind, count in sorted(licences.items()))
    writer = StoreWriter(
        out,
        name=name,
        source="videos curated by hmr4d curate; manifest and shards name each",
        licence=licence,
        notice=f"# {name}\n\n2D keypoints of videos. Licences of the videos:\n\n{licence_lines}\n",
        settings={"clips": sum(licences.values())},
        fps=FPS,
        skeleton=COCO17,
        kind=KEYPOINTS,
        overwrite=overwrite,
        origin=[folder / SHARDS],
    )
    captions: dict[str, list[Caption]] = {}
    for _, record in read_clips(folder):
        texts = [caption["text"] for caption in record.meta["captions"]]
        captions[record.key] = [Caption(text, tuple(pos_tokens(text))) for text in texts]
        if writer.is_done(record.key):
            continue
        if not texts:
            writer.drop(record.key, "no caption")
        elif faults := keypoint_faults(record.arrays["kpts"]):
            writer.drop(record.key, faults[0])
        else:
            writer.add(record.key, record.arrays["kpts"], split=record.meta["split"])

    def annotate(clip: ClipRecord) -> list[Caption]:
        return captions[clip.name]

    return writer.finish(annotate=annotate, mirror_text=mirror_text, tokenize=pos_tokens)

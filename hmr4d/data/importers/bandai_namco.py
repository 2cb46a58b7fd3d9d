"""Bandai-Namco-Research-Motiondataset 1 and 2: BVH files of acted styles -> motion store.

Labels come from the clip names, `<dataset>_<content>_<style>_<take>`; captions from `hmr4d.data.captions`.
"""

from __future__ import annotations

import functools
import logging
import lzma
import random
import tarfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path, PurePosixPath

from hmr4d.body.joint_conventions import retargeted_convention
from hmr4d.data.captions import caption_pool, content_names, content_sentences, style_names
from hmr4d.data.importers.conversion import BvhSource, ClipMetadata, Conversion, add_bvh_clips
from hmr4d.data.importers.splits import SPLITS, split_by_name
from hmr4d.data.mirrored_text import mirror_text
from hmr4d.data.part_of_speech import pos_tokens
from hmr4d.data.store_writer import Caption, ClipRecord, StoreSummary, StoreWriter
from hmr4d.motion_files.joint_maps import BANDAI_NAMCO
from hmr4d.utils.progress import progress

logger = logging.getLogger(__name__)

NAME = "bandai_namco"
SOURCE = "Bandai-Namco-Research-Motiondataset 1 and 2"
SOURCE_URL = "https://github.com/BandaiNamcoResearchInc/Bandai-Namco-Research-Motiondataset"
LICENCE = "CC BY-NC 4.0"
DEFAULT_MIN_FRAMES = 24
DEFAULT_CAPTIONS_PER_CELL = 68  # the hand-written sentences of a content are about 185
HELD_OUT_CAPTIONS = 3  # fixed captions of a val or test clip
HELD_OUT_POOL = 48  # pool size, independent of training, so that test sets do not change

# Clips that turn to the other side than their name.
RELABELLED_CONTENT = {
    "dataset-2_walk-turn-left_masculine_006": "walk-turn-right",
    "dataset-2_walk-turn-left_masculine_007": "walk-turn-right",
    "dataset-2_walk-turn-right_masculine_006": "walk-turn-left",
}
# Seconds cut from the start if a clip starts with an about-face before the turn of its label.
TRIMMED_START = {"dataset-2_walk-turn-right_masculine_006": 2.0}
# Clips with the start or end of a second turn, an about-face that no caption describes.
ABOUT_FACE_CLIPS = frozenset(
    f"dataset-2_walk-turn-{side}_normal_{take}"
    for side, takes in (("left", ("031", "032", "033")), ("right", ("004", "032", "033")))
    for take in takes
)

NOTICE = f"""# Bandai-Namco motion data

Motion data: Bandai-Namco-Research-Motiondataset, (c) 2022 Bandai Namco Research Inc., licensed under CC BY-NC 4.0
(https://creativecommons.org/licenses/by-nc/4.0/): non-commercial use only, with credit.
Source: {SOURCE_URL}
Paper: Kobayashi, Liao, Inoue, Yojima, Takahashi, "Motion Capture Dataset for Practical Use of AI-based Motion Editing
and Stylization", 2023, arXiv:2306.08861.

Changes: converted to 22 joint positions, 20 frames per second, meters, floor at y = 0; captions added.
Whoever shares this folder or anything adapted from it keeps this credit, links the licence and says what was changed.
Treat weights trained on it as non-commercial.
"""


def parse_clip_name(name: str) -> tuple[str, str, str, str] | None:
    """(dataset, content, style, take) of a clip name, or None for other names."""
    fields = name.split("_")
    is_known = len(fields) == 4 and fields[0] in ("dataset-1", "dataset-2") and fields[3].isdigit() and all(fields)
    return (fields[0], fields[1], fields[2], fields[3]) if is_known else None


@functools.lru_cache(maxsize=1)
def published_splits() -> dict[str, str]:
    """Clip name -> split for the 2,632 clips of the split lists in this package."""
    folder = resources.files("hmr4d.data") / "resources" / "bandai_namco_splits"
    return {name: split for split in SPLITS for name in (folder / f"{split}.txt").read_text(encoding="utf-8").split()}


def split_of(name: str) -> str:
    """Split of a clip: from the lists, else 85 / 5 / 10 % by the SHA-256 of the name."""
    return published_splits().get(name) or split_by_name(name)


def clip_metadata(name: str) -> ClipMetadata:
    """Split, labels (content, style; with known errors corrected) and trimming of a clip, from its name."""
    _, content, style, _ = name.split("_")
    labels = {"content": RELABELLED_CONTENT.get(name, content), "style": style}
    return ClipMetadata(split_of(name), labels, TRIMMED_START.get(name, 0.0))


def iterate_bvh(root: Path) -> Iterator[BvhSource]:
    """Every BVH file below a folder or in a tar archive, one pass.

    An archive is read as a stream; nothing is unpacked to disk.

    Raises:
        FileNotFoundError: `root` does not exist.
        ValueError: `root` is not an archive, or the archive is damaged.
    """
    if root.is_dir():
        for path in sorted(root.rglob("*.bvh")):
            yield BvhSource(path.stem, str(path), path.read_bytes())
        return
    if not root.is_file():
        raise FileNotFoundError(f"Bandai-Namco data not found: {root}. Pass the dataset folder or a tar archive of it.")
    try:
        with tarfile.open(root, mode="r|*") as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                if member.isfile() and path.suffix == ".bvh" and not path.name.startswith("._"):
                    content = archive.extractfile(member)
                    assert content is not None  # it is a regular file
                    yield BvhSource(path.stem, f"{root.name}:{member.name}", content.read())
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
        raise ValueError(f"{root} cannot be read as a tar archive: {error}. Is the download complete?") from error


@functools.lru_cache(maxsize=1024)
def cell_captions(content: str, style: str, count: int, seed: int) -> tuple[Caption, ...]:
    """The caption pool of one content in one style, with tokens; empty, with a warning, for labels without words."""
    if content not in content_names() or style not in style_names():
        logger.warning("There are no caption words for content '%s' in style '%s'.", content, style)
        return ()
    return tuple(Caption(text, tuple(pos_tokens(text))) for text in caption_pool(content, style, count, seed))


@functools.lru_cache(maxsize=64)
def sentence_captions(content: str) -> tuple[Caption, ...]:
    """The hand-written sentences of one content, with tokens."""
    return tuple(Caption(text, tuple(pos_tokens(text))) for text in content_sentences(content))


def clip_captions(clip: ClipRecord, count: int, seed: int) -> list[Caption]:
    """Captions of a clip.

    Args:
        clip: the clip with its labels.
        count: captions of the grammar per content and style.
        seed: seed of the pools, and of the choice outside train.

    Returns: In train, the whole pool of the grammar and the sentences of the content. In val and test, a few captions
        of the grammar, determined by the clip name. Empty for labels without words.
    """
    content, style = clip.labels["content"], clip.labels["style"]
    pool = list(cell_captions(content, style, count, seed))
    if not pool:
        return []
    if clip.split == "train":
        return list(dict.fromkeys([*pool, *sentence_captions(content)]))
    pool = pool[:HELD_OUT_POOL]
    if len(pool) <= HELD_OUT_CAPTIONS:
        return pool
    return random.Random(f"{seed} {clip.name}").sample(pool, HELD_OUT_CAPTIONS)


def import_bandai_namco(
    root: str | Path,
    out: str | Path,
    *,
    min_frames: int = DEFAULT_MIN_FRAMES,
    captions_per_cell: int = DEFAULT_CAPTIONS_PER_CELL,
    caption_seed: int = 0,
    retarget: str = "none",
    canonical: bool = False,
    fps: float = 20.0,
    keep_about_face: bool = False,
    skip_bad: bool = False,
    jobs: int | None = None,
    overwrite: bool = False,
) -> StoreSummary:
    """Builds the store of the Bandai-Namco data.

    Args:
        root: dataset folder, or tar archive of any compression that Python reads.
        out: folder of the store.
        min_frames: shorter clips (at `fps`) are excluded.
        captions_per_cell: captions of the grammar per content and style; train clips take the hand-written sentences
            of their content too.
        caption_seed: seed of the caption pools and of the choice for val and test.
        retarget: "none" or "smpl_mean".
        canonical: turn every clip to face +z at the origin; datasets do that anyway when they read.
        fps: frames per second of the store.
        keep_about_face: keep the clips with part of an extra about-face. skip_bad: skip unreadable files, with a
            warning, instead of stopping.
        jobs: worker processes; by default one per core.
        overwrite: replace a finished store.

    Raises:
        FileNotFoundError, ValueError: the source is missing or damaged, or contains no clip.
    """
    settings = {
        "min_frames": min_frames,
        "captions_per_cell": captions_per_cell,
        "caption_seed": caption_seed,
        "train_captions": "grammar and hand-written sentences",
        "retarget": retarget,
        "relabelled": RELABELLED_CONTENT,
        "trimmed_start_seconds": TRIMMED_START,
        "about_face_clips": sorted(ABOUT_FACE_CLIPS),
        "keep_about_face": keep_about_face,
        "place": "canonical" if canonical else "world",
        "resampling": "cubic spline of positions",
    }
    conversion = Conversion(BANDAI_NAMCO, meters_per_unit=0.01, fps=fps, retarget=retarget)
    root = Path(root)
    writer = StoreWriter(
        Path(out),
        name=NAME,
        source=f"{SOURCE}, {SOURCE_URL}",
        licence=LICENCE,
        notice=NOTICE,
        settings=settings,
        fps=fps,
        joint_convention=retargeted_convention(NAME, retarget),
        overwrite=overwrite,
        origin=(root,),
    )

    def wanted() -> Iterator[BvhSource]:
        total = sum(1 for _ in root.rglob("*.bvh")) if root.is_dir() else None
        for source in progress(iterate_bvh(root), NAME, total=total, unit="clip"):
            if writer.is_done(source.name):
                continue
            if parse_clip_name(source.name) is None:
                logger.warning("%s: the name is not <dataset>_<content>_<style>_<take>; skipped.", source.file_name)
                writer.drop(source.name, "no Bandai-Namco clip name")
            elif source.name in ABOUT_FACE_CLIPS and not keep_about_face:
                writer.drop(source.name, "holds part of an about-face")
            else:
                yield source

    add_bvh_clips(
        writer,
        wanted(),
        clip_metadata,
        conversion,
        min_frames=min_frames,
        canonical=canonical,
        skip_bad=skip_bad,
        jobs=jobs,
    )
    return writer.finish(
        annotate=lambda clip: clip_captions(clip, captions_per_cell, caption_seed),
        mirror_text=mirror_text,
        tokenize=pos_tokens,
    )

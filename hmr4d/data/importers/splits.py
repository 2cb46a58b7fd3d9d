"""Splits for sources without splits, and list files for those with splits."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from hmr4d.utils.text_files import read_text

SPLITS = ("train", "val", "test")
TEST_SHARE, VAL_SHARE = 0.10, 0.05
LARGE_GROUP, LARGE_GROUP_CLIPS = 10, 2


def split_by_name(name: str, *, test: float = TEST_SHARE, val: float = VAL_SHARE) -> str:
    """train, val or test (85 / 5 / 10 %) from the SHA-256 of the clip's name: the same on every machine and run."""
    rank = _rank(name)
    return "test" if rank < test else "val" if rank < test + val else "train"


def split_by_names(names: Sequence[str]) -> dict[str, str]:
    """Splits of a source's clips, as `split_by_name`; of three clips or more, each split has one at least."""
    splits = {name: split_by_name(name) for name in names}
    for wanted in ("test", "val") if len(splits) > 2 else ():
        train = [name for name, split in splits.items() if split == "train"]
        if wanted not in splits.values() and len(train) > 1:
            splits[min(train, key=_rank)] = wanted
    return splits


def split_by_groups(clips: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Splits of source clips by name, such that small groups are not divided and large ones have test clips.

    By the SHA-256 of the name, with exceptions: a clip with a piece of a small group is in train. Of a large group
    without any piece in test, the clip of the lowest hash goes there among those with the fewest pieces of small
    groups, if each of these groups has pieces elsewhere. A group of at least LARGE_GROUP pieces in at least
    LARGE_GROUP_CLIPS clips is large.

    Args:
        clips: source clip -> groups of its pieces, of which all go to the same split.
    """
    sizes = Counter(group for groups in clips.values() for group in groups)
    within = Counter(group for groups in clips.values() for group in set(groups))
    large = {group for group, size in sizes.items() if size >= LARGE_GROUP and within[group] >= LARGE_GROUP_CLIPS}
    movable = {clip: bool(groups) and set(groups) <= large for clip, groups in clips.items()}
    splits = {clip: split_by_name(clip) if movable[clip] else "train" for clip in clips}
    for group in sorted(large):
        inside = [clip for clip, groups in clips.items() if group in groups]
        if any(splits[clip] == "test" for clip in inside):
            continue
        small = {clip: Counter(g for g in clips[clip] if g not in large) for clip in inside}
        spared = [clip for clip in inside if all(count < sizes[g] for g, count in small[clip].items())]
        if spared:
            splits[min(spared, key=lambda clip: (small[clip].total(), _rank(clip)))] = "test"
    return splits


def _rank(name: str) -> float:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2.0**64


def read_name_list(path: Path) -> list[str]:
    """Clip names of a list file, one per line, in file order; blank lines are skipped."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]

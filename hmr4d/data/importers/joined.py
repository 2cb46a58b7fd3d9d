"""Several motion stores as one: one body, and pieces that follow each other with both sentences."""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from hmr4d.body.joint_conventions import joined_convention, retargeted_convention
from hmr4d.body.retarget import retarget_bone_lengths, smpl_mean_bone_lengths
from hmr4d.data.mirrored_text import mirror_text
from hmr4d.data.part_of_speech import pos_tokens
from hmr4d.data.store import MotionStore
from hmr4d.data.store_writer import Caption, StoreSummary, StoreWriter
from hmr4d.geometry.cameras import invert_rigid, world_to_camera
from hmr4d.motion.canonical import facing_transform
from hmr4d.utils.progress import progress

logger = logging.getLogger(__name__)

RETARGETS = ("none", "smpl_mean")
MAX_PIECE_SECONDS = 6.0
MAX_PAIR_SECONDS = 9.8
MIN_PIECE_SECONDS = 1.0
BLEND_SECONDS = 0.4
JOINABLE = 0.25  # meters; root mean square distance of the joints of the two poses
CAPTIONS_PER_PAIR = 3
TRIES_PER_PAIR = 40
CONNECTIVES = ("{a}, then {b}", "{a} and then {b}", "{a}, and after that {b}")
_SUBJECT = re.compile(
    r"^(a|an|the|one|some)? ?((young|old|tall) )?(person|man|woman|guy|girl|boy|human|figure|individual|someone|"
    r"somebody|he|she|they|character|actor|kid|child) ",
    re.IGNORECASE,
)


Piece = tuple[str, np.ndarray, dict[str, str]]  # name, joints (L, J, 3), labels


def join_stores(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    name: str | None = None,
    retarget: str = "smpl_mean",
    pairs: int = 0,
    seed: int = 0,
    overwrite: bool = False,
) -> StoreSummary:
    """Writes the clips of several stores, and pairs of them, into one store.

    Clips keep split, labels and captions; their names get the name of their store in front. The clips of one store also
    have splits of their own, such as `test_cmu`. A pair joins two short train clips where the last pose of one is near
    the first pose of the other. Its sentences name both actions, and it has no labels.

    Args:
        paths: folders of stores of one rate and skeleton.
        out: folder of the joined store.
        name: name of the joined store; None: the names joined with "+".
        retarget: "none", or "smpl_mean" for the mean SMPL bone lengths, so that one model learns one body.
        pairs: number of pairs. seed: seed of the choice of pairs and of their sentences.
        overwrite: replace a finished store.

    Raises:
        ValueError: the stores differ in rate or skeleton, or an option is unknown.
    """
    if retarget not in RETARGETS:
        raise ValueError(f"retarget is '{retarget}'; known: {RETARGETS}.")
    stores = [MotionStore.open(path) for path in paths]
    kinds = {(store.fps, store.skeleton.name) for store in stores}
    if len(kinds) != 1:
        raise ValueError(f"Stores of different rate or skeleton cannot be joined: {sorted(kinds)}.")
    writer = StoreWriter(
        Path(out),
        name=name or "+".join(store.name for store in stores),
        source="; ".join(store.info["source"] for store in stores),
        licence="; ".join(dict.fromkeys(store.info["licence"] for store in stores)),
        notice="\n\n".join((store.path / "NOTICE.md").read_text(encoding="utf-8").strip() for store in stores),
        settings={"stores": [store.name for store in stores], "retarget": retarget, "pairs": pairs, "seed": seed},
        fps=stores[0].fps,
        skeleton=stores[0].skeleton,
        joint_convention=retargeted_convention(_joint_convention(stores), retarget),
        overwrite=overwrite,
        origin=[store.path for store in stores],
    )
    captions: dict[str, list[Caption]] = {}
    pieces: list[Piece] = []  # short train clips
    total = sum(len(store) for store in stores)
    for store, clip in progress(_clips(stores), "join", total=total, unit="clip"):
        joints3d = np.array(store.joints3d(clip))
        if retarget == "smpl_mean":
            joints3d = retarget_bone_lengths(joints3d, smpl_mean_bone_lengths(store.skeleton), skeleton=store.skeleton)
            joints3d[..., 1] -= joints3d[..., 1].min() - float(store.joints3d(clip)[..., 1].min())
        clip_name = f"{store.name}/{store.names[clip]}"
        labels = {kind: values[clip] for kind, values in store.labels.items()}
        captions[clip_name] = [
            Caption(store.caption_texts[c.caption], tuple(store.caption_tokens[c.caption]), c.start_s, c.end_s)
            for c in store.clip_captions(clip)
        ]
        if not writer.is_done(clip_name):
            writer.add(clip_name, joints3d, split=store.splits[clip], labels=labels)
        seconds = len(joints3d) / store.fps
        if store.splits[clip] == "train" and MIN_PIECE_SECONDS <= seconds <= MAX_PIECE_SECONDS:
            pieces.append((clip_name, joints3d, labels))
    rng = random.Random(seed)
    for number in progress(range(pairs), "pairs", unit="pair"):
        pair = _draw_pair(pieces, writer.fps, captions, rng)
        if pair is None:
            continue
        (first, joints_a, _), (second, joints_b, _) = pair
        pair_name = f"pair/{number:05d}"
        captions[pair_name] = pair_captions(captions[first], captions[second], rng)
        if not writer.is_done(pair_name):
            writer.add(pair_name, append_piece(joints_a, joints_b, writer.fps), split="train")
    return writer.finish(
        annotate=lambda clip: captions[clip.name],
        mirror_text=mirror_text,
        tokenize=pos_tokens,
        split_lists=_splits_by_store(stores),
    )


def _splits_by_store(stores: Sequence[MotionStore]) -> dict[str, list[str]]:
    """Split of the joined store, such as `test_cmu` -> names of its clips in the joined store."""
    lists: dict[str, list[str]] = {}
    for store, clip in _clips(stores):
        if store.splits[clip]:
            lists.setdefault(f"{store.splits[clip]}_{store.name}", []).append(f"{store.name}/{store.names[clip]}")
    return lists


def _clips(stores: Sequence[MotionStore]) -> Iterator[tuple[MotionStore, int]]:
    for store in stores:
        for clip in range(len(store)):
            yield store, clip


def _draw_pair(
    pieces: Sequence[Piece],
    fps: float,
    captions: dict[str, list[Caption]],
    rng: random.Random,
) -> tuple[Piece, Piece] | None:
    """Two pieces that fit, with uniform contents; None if TRIES_PER_PAIR tries fail."""
    by_content: dict[str, list[int]] = {}
    for index, (_, _, labels) in enumerate(pieces):
        by_content.setdefault(labels.get("content", ""), []).append(index)
    contents = sorted(by_content)
    for _ in range(TRIES_PER_PAIR):
        a, b = (pieces[rng.choice(by_content[rng.choice(contents)])] for _ in range(2))
        if a[0] == b[0] or len(a[1]) + len(b[1]) > MAX_PAIR_SECONDS * fps:
            continue
        if pose_distance(a[1][-1], b[1][0]) < JOINABLE and pair_captions(
            captions[a[0]], captions[b[0]], random.Random(0)
        ):
            return a, b
    return None


def pose_distance(pose_a: np.ndarray, pose_b: np.ndarray) -> float:
    """Root mean square distance in meters of two poses (J, 3) after aligning heading and position."""
    poses = torch.from_numpy(np.stack([pose_a, pose_b]))
    placed = world_to_camera(poses, facing_transform(poses))
    return float((placed[0] - placed[1]).square().sum(-1).mean().sqrt())


def append_piece(first: np.ndarray, second: np.ndarray, fps: float) -> np.ndarray:
    """Clip (L1, J, 3), then clip (L2, J, 3) rotated and moved to its end; the pose difference is blended."""
    a, b = torch.from_numpy(first), torch.from_numpy(second)
    blend = min(round(BLEND_SECONDS * fps), len(a) - 1, len(b) - 1)
    T = invert_rigid(facing_transform(a[-1])) @ facing_transform(b[0])
    moved = world_to_camera(b, T)
    gap = a[-1] - moved[0]  # fades over the beginning of the second clip
    fade = torch.linspace(1.0, 0.0, blend + 1).to(a)[: len(b), None, None]
    moved[: blend + 1] += gap * (fade * fade * (3.0 - 2.0 * fade))
    return torch.cat([a, moved[1:]]).numpy()


def pair_captions(first: Sequence[Caption], second: Sequence[Caption], rng: random.Random) -> list[Caption]:
    """Sentences for two consecutive pieces: sentences with a subject, the second one without it."""
    opening = [c.text.rstrip(".") for c in first if _SUBJECT.match(c.text) and c.start_s == c.end_s == 0.0]
    closing = [c.text.rstrip(".") for c in second if _SUBJECT.match(c.text) and c.start_s == c.end_s == 0.0]
    texts: list[str] = []
    for _ in range(CAPTIONS_PER_PAIR if opening and closing else 0):
        form = rng.choice(CONNECTIVES)
        texts.append(form.format(a=rng.choice(opening), b=_SUBJECT.sub("", rng.choice(closing))))
    return [Caption(text, tuple(pos_tokens(text))) for text in dict.fromkeys(texts)]


def _joint_convention(stores: Sequence[MotionStore]) -> str | None:
    """The joint conventions of the stores, that of most motion first; a warning where some store has none."""
    ordered = sorted(stores, key=lambda store: -int(store.lengths.sum()))
    conventions = {store.name: store.info.get("joint_convention") for store in ordered}
    if None in conventions.values() and len(set(conventions.values())) > 1:
        logger.warning(
            "Some stores do not name their joint convention (%s); their motion counts as the rest.",
            ", ".join(f"{name}: {convention}" for name, convention in conventions.items()),
        )
    return joined_convention(list(conventions.values()))

"""Projection of a store of 3D motion to random cameras: captioned 2D tracks with simulated detector errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmr4d.body.joint_conversion import convert_joints
from hmr4d.body.skeleton import COCO17
from hmr4d.data.clip_index import Example, IndexRules, build_index
from hmr4d.data.keypoint_clips import with_image_size
from hmr4d.data.lifting.corruptions import KeypointCorruption
from hmr4d.data.mirrored_text import mirror_text
from hmr4d.data.part_of_speech import pos_tokens
from hmr4d.data.store import KEYPOINTS, MotionStore
from hmr4d.data.store_writer import Caption, ClipRecord, StoreSummary, StoreWriter
from hmr4d.geometry.rigs import Rig, camera_pose, project
from hmr4d.motion.resampling import resample_positions
from hmr4d.utils.progress import progress
from hmr4d.utils.randomness import ItemRandom, mix_seed

FPS = 30.0
NOT_SEEN = "no random camera sees it completely"
SURE = (0.85, 1.0)  # confidences of exact keypoints
ERROR_SCALE = 0.1  # scale of the keypoint error in the confidence, relative to the bounding box
Range = tuple[float, float]


@dataclass(frozen=True)
class CameraDraws:
    """Random cameras of 2D tracks: horizontal ones all around, at the height of the body center.

    Attributes:
        focal: focal length in pixels.
        distance: meters from the body center, limits. pitch: downward pitch in degrees, limits. yaw: degrees about the
            vertical axis, counter-clockwise from above, limits; at 0 the camera looks along -z. sizes: widths and
            heights of images in pixels, uniform. inside: minimum fraction of the keypoints inside the image.
            min_height: minimum height of the person's box relative to that of the image. tries: random cameras per
            view; the first that satisfies these limits is used.
    """

    focal: float = 5000.0
    distance: Range = (8.0, 30.0)
    pitch: Range = (0.0, 0.0)
    yaw: Range = (0.0, 360.0)
    sizes: tuple[tuple[int, int], ...] = ((1920, 1080), (1280, 720), (1080, 1920), (720, 1280), (1440, 1080))
    inside: float = 0.98
    min_height: float = 1 / 3
    tries: int = 48

    def __post_init__(self) -> None:
        if not 0 < self.distance[0] <= self.distance[1]:
            raise ValueError(f"distance is {self.distance}; expected two numbers of meters above 0, the smaller first.")
        if self.tries < 1 or not self.sizes:
            raise ValueError(f"tries is {self.tries} and sizes {self.sizes}; expected at least one of each.")

    def draw(self, joints3d: Tensor, rng: ItemRandom) -> tuple[Tensor, Tensor] | None:
        """Pixels (L, J, 2) of joints (L, J, 3), meters, y up, and image size (2,); None if no camera shows them."""
        low, high = joints3d.amin((0, 1)), joints3d.amax((0, 1))
        middle = (low + high) / 2
        for _ in range(self.tries):
            u = rng.uniform(6)
            size = torch.tensor(self.sizes[int(u[0] * len(self.sizes))], dtype=torch.float32)
            # Uniform in 1 / distance, so that the apparent size is uniform.
            distance = 1 / _between((1 / self.distance[1], 1 / self.distance[0]), u[1])
            pitch, yaw = (
                torch.tensor(math.radians(_between(*drawn))) for drawn in ((self.pitch, u[3]), (self.yaw, u[2]))
            )
            rig = self._rig(size, middle, distance, pitch, yaw)
            pixels = project(rig, joints3d)[0]
            room = (size - 1 - (pixels.amax((0, 1, 2)) - pixels.amin((0, 1, 2)))).clamp(min=0)
            rig.T_w2c[0, :2, 3] += (u[4:] - 0.5) * room * distance / self.focal
            pixels, depth = (seen[0] for seen in project(rig, joints3d))
            inside = ((pixels >= 0) & (pixels <= size - 1)).all(-1).float().mean()
            height = (pixels[..., 1].amax(1) - pixels[..., 1].amin(1)).median()
            if inside >= self.inside and height >= self.min_height * size[1] and depth.amin() > 0:
                return pixels, size
        return None

    def _rig(self, size: Tensor, middle: Tensor, distance: float, pitch: Tensor, yaw: Tensor) -> Rig:
        """A camera that looks at a point."""
        pose = camera_pose(pitch, torch.zeros(()), yaw, torch.zeros(3))
        pose[:3, 3] = torch.tensor([0.0, 0.0, distance]) - pose[:3, :3] @ middle
        K4 = torch.tensor([self.focal, self.focal, float(size[0]) / 2, float(size[1]) / 2])
        return Rig(size[None], K4[None], pose[None])


def _between(bounds: Range, u: Tensor) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * float(u)


def observed(pixels: Tensor, size: Tensor, corruption: KeypointCorruption, rng: ItemRandom) -> tuple[Tensor, Tensor]:
    """COCO-17 keypoints (L, 17, 2) as a detector would report them, and confidences (L, 17).

    Confidence is random within `SURE` and falls with the distance to the true position, or to that of the other side,
    since a detector that confuses left and right is still confident.
    """
    side = (pixels.amax(1) - pixels.amin(1)).amax(-1, keepdim=True).expand(-1, 2)
    seen, visible = corruption.apply(pixels, side, size, COCO17, rng)
    off = (seen - pixels).norm(dim=-1)
    twin = (seen - pixels[:, list(COCO17.mirror_order)]).norm(dim=-1)
    error = torch.minimum(off, twin) / (ERROR_SCALE * side[:, :1])
    sure = SURE[0] + (SURE[1] - SURE[0]) * rng.uniform(*off.shape)
    return seen, sure * (-(error**2)).exp() * visible


def render_store(
    store_path: str | Path, out: str | Path, *, views: int = 4, cameras: CameraDraws | None = None,
    corruption: KeypointCorruption | None = None, min_frames: int = 60, max_frames: int = 300, seed: int = 0,
    overwrite: bool = False,
) -> StoreSummary:  # fmt: skip
    """Writes a 2D store of COCO-17 keypoints at 30 fps from a store of 3D motion. The store contains no 3D.

    Clips, splits, labels and captions are those of the source; a section with its own caption becomes a separate clip,
    and sections of more than `max_frames` are cut into equal parts. A view has the name of its section and the number
    of the view.

    Args:
        store_path: store of 3D motion.
        out: folder to write.
        views: number of cameras per section. cameras: distribution of the cameras. corruption: simulated detector
            errors; None: the default ones, `NO_CORRUPTION`: none. min_frames, max_frames: length limits of a clip, at
            30 fps. Shorter sections are excluded. seed: seed of cameras and errors.
        overwrite: replace a finished store.

    Raises:
        ValueError: an invalid number, or no clip remains.
    """
    if views < 1 or not 1 <= min_frames <= max_frames:
        raise ValueError(f"views {views}, frames {min_frames} to {max_frames}; expected 1 view and 1 frame or more.")
    store = MotionStore.open(store_path)
    cameras, corruption = cameras or CameraDraws(), corruption or KeypointCorruption()
    writer = StoreWriter(
        Path(out), name=f"{store.name}_2d", source=f"{store.info['source']}, seen by random cameras",
        licence=store.info["licence"], notice=_notice(store), fps=FPS, skeleton=COCO17, kind=KEYPOINTS,
        overwrite=overwrite, origin=[Path(store_path)],
        settings={"store": store.name, "views": views, "cameras": asdict(cameras), "corruption": asdict(corruption),
                  "min_frames": min_frames, "max_frames": max_frames, "seed": seed},
    )  # fmt: skip
    captions: dict[str, list[Caption]] = {}
    stretches = _stretches(store, min_frames, max_frames, writer)
    for number, (name, example) in enumerate(progress(stretches, "render", unit="clip")):
        sentences = [Caption(store.caption_texts[c], tuple(store.caption_tokens[c])) for c in example.captions]
        joints3d: Tensor | None = None
        for view in range(views):
            clip = f"{name}#{view}"
            captions[clip] = sentences
            if writer.is_done(clip):
                continue
            if joints3d is None:
                joints3d = _coco(store, example)[:max_frames]
            rng = ItemRandom.from_seed(mix_seed(seed, number, view))
            drawn = cameras.draw(joints3d, rng)
            if drawn is None:
                writer.drop(clip, NOT_SEEN)
                continue
            seen, conf = observed(*drawn, corruption, rng)
            width, height = (int(v) for v in drawn[1])
            keypoints = with_image_size(seen.numpy(), conf.numpy(), (width, height))
            labels = {kind: values[example.clip] for kind, values in store.labels.items()}
            writer.add(clip, keypoints, split=store.splits[example.clip], labels=labels)

    def annotate(clip: ClipRecord) -> Sequence[Caption]:
        return captions[clip.name]

    return writer.finish(annotate=annotate, mirror_text=mirror_text, tokenize=pos_tokens)


def _coco(store: MotionStore, example: Example) -> Tensor:
    """(L, 17, 3) 3D keypoints of a section, meters, at 30 fps."""
    joints3d = store.joints3d(example.clip)[example.start : example.end]
    return convert_joints(torch.from_numpy(resample_positions(joints3d, store.fps, FPS)), store.skeleton, COCO17)


def _stretches(store: MotionStore, least: int, most: int, writer: StoreWriter) -> list[tuple[str, Example]]:
    """Sections of the store with their names, in its order, at most `most` frames at 30 fps."""
    seconds = (least / FPS, most / FPS)
    rules = IndexRules(min_seconds=seconds[0], max_seconds=seconds[1], keep_long=True)
    found: list[tuple[str, Example]] = []
    captions: dict[tuple[int, int, int], tuple[int, ...]] = {}
    for example in build_index(store, None, rules):
        place = (example.clip, example.start, example.end)
        captions[place] = (*captions.get(place, ()), *example.captions)
    used = {clip for clip, _, _ in captions}
    for clip in set(range(len(store))) - used:
        frames = int(store.lengths[clip])
        reason = "no caption" if frames >= least * store.fps / FPS else f"shorter than {seconds[0]:g} s"
        writer.drop(store.names[clip], reason)
    for (clip, first, last), sentences in captions.items():
        parts = math.ceil((last - first) / store.fps / seconds[1] - 1e-6)
        edges = np.linspace(first, last, parts + 1).round().astype(int).tolist()
        for start, end in zip(edges[:-1], edges[1:], strict=True):
            name = store.names[clip]
            if (start, end) != (0, int(store.lengths[clip])):
                name += f"@{start / store.fps:.2f}-{end / store.fps:.2f}"
            found.append((name, Example(clip, start, end, sentences)))
    return found


def _notice(store: MotionStore) -> str:
    notice = store.path / "NOTICE.md"
    text = notice.read_text(encoding="utf-8") if notice.is_file() else f"Licence: {store.info['licence']}."
    return f"{text.strip()}\n\nChanged: converted to 2D keypoints seen by random cameras.\n"

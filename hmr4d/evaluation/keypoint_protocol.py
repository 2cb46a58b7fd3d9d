"""Generated 3D motion against clips of 2D keypoints: projected by a camera, then compared in 2D."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hmr4d.body.joint_conversion import convert_joints
from hmr4d.body.skeleton import COCO17
from hmr4d.data.importers.render2d import CameraDraws
from hmr4d.data.keypoint_clips import with_image_size
from hmr4d.data.store import KeypointStore
from hmr4d.evaluation.preparation import MAX_ROWS, Encoded, StandardPreparation
from hmr4d.evaluation.scoring import Embeddings, RepeatScores, StandardProtocol, one_rate
from hmr4d.evaluation.text_to_motion_data import Job, KeypointCuts, ScoredClips
from hmr4d.evaluators.evaluator import Evaluator
from hmr4d.evaluators.feature_kinds import KEYPOINTS2D
from hmr4d.geometry.rigs import Rig, camera_pose, project
from hmr4d.metrics.text_to_motion import retrieval
from hmr4d.motion.motion import CAMERA, Motion
from hmr4d.motion.resampling import resample_positions
from hmr4d.representation.keypoint_features import KeypointStatistics, keypoint_features
from hmr4d.utils.randomness import ItemRandom, mix_seed
from hmr4d.utils.tensors import as_tensor

VIEW = 1 << 21  # part of the seeds of drawn cameras
Size = tuple[int, int]


class MotionViews(Protocol):
    """A choice of the camera that projects a generated motion."""

    def __call__(self, motion: Motion, points: Tensor, size: Size, rng: ItemRandom) -> tuple[Tensor, Size]:
        """Pixels (L, 17, 2) of points (L, 17, 3), metres, y up, in an image of this size or of the one returned."""
        ...


class OwnCamera:
    """The camera that the model reports, see `hmr4d.motion.motion.CAMERA`.

    The image keeps its own size. Features are relative to the image center in units of the longer side, and a model
    with one focal length gives the same features for every image size.
    """

    def __call__(self, motion: Motion, points: Tensor, size: Size, rng: ItemRandom) -> tuple[Tensor, Size]:
        told = motion.provenance.more.get(CAMERA)
        if not isinstance(told, dict):
            raise ValueError(
                "The generated motions do not tell the camera they were made for; models of 3D motion have none. Use "
                "random cameras: views2d=drawn."
            )
        own = (int(told["size"][0]), int(told["size"][1]))
        zero = torch.zeros(())
        pose = camera_pose(zero, zero, zero, torch.tensor(told["center"], dtype=torch.float32))
        focal, (width, height) = float(told["focal"]), own
        K4 = torch.tensor([focal, focal, width / 2, height / 2])
        rig = Rig(torch.tensor([own], dtype=torch.float32), K4[None], pose[None])
        return project(rig, points)[0][0], own


@dataclass(frozen=True)
class DrawnCameras:
    """Random cameras as in `prepare render-2d`, with the image size of the real clip.

    Attributes:
        cameras: their distribution. Its sizes are not used.
    """

    cameras: CameraDraws = field(default_factory=CameraDraws)

    def __call__(self, motion: Motion, points: Tensor, size: Size, rng: ItemRandom) -> tuple[Tensor, Size]:
        wanted = replace(self.cameras, sizes=(size,))
        reach = float((points.amax((0, 1)) - points.amin((0, 1))).norm())
        anywhere = replace(wanted, inside=0.0, min_height=0.0, distance=(reach + 1, reach + max(wanted.distance)))
        drawn = wanted.draw(points, rng) or anywhere.draw(points, rng)
        if drawn is None:
            raise ValueError(f"No camera sees the motion for '{motion.text}', which reaches over {reach:.1f} m.")
        return drawn[0], size


class KeypointPreparation(StandardPreparation):
    """As `StandardPreparation`, for clips of 2D keypoints (L, 18, 3) at the rate of the statistics."""

    def __init__(self, statistics: KeypointStatistics, *, max_rows: int = MAX_ROWS, unit: int = 4) -> None:
        self.statistics, self.max_rows, self.unit = statistics, max_rows, unit

    def encode(self, motions: Sequence[Tensor | NDArray[Any]], fps: float) -> Encoded:
        """Features of whole clips.

        Raises:
            ValueError: another rate, or keypoints that make no features.
        """
        if fps != self.statistics.fps:
            raise ValueError(f"The keypoints run at {fps:g} frames per second, the evaluator at {self.statistics.fps}.")
        clips = [as_tensor(motion).float() for motion in motions]
        features = pad_sequence([keypoint_features(clip, self.statistics.variant) for clip in clips], batch_first=True)
        return Encoded(clips, features, torch.tensor([len(clip) for clip in clips]))


class KeypointProtocol(StandardProtocol):
    """The standard protocol for an evaluator of 2D keypoints. Nothing is measured in 3D.

    Args:
        views: the cameras that project generated motions.
    """

    name = "standard_2d"
    cuts, features, has_joints3d = KeypointCuts, KEYPOINTS2D, False

    def __init__(self, views: MotionViews | None = None) -> None:
        self.views = views or OwnCamera()

    def preparation(self, evaluator: Evaluator) -> KeypointPreparation:
        recipe, statistics = evaluator.recipe, evaluator.statistics
        assert isinstance(statistics, KeypointStatistics)  # as `check` has seen
        return KeypointPreparation(statistics, max_rows=recipe.max_rows, unit=recipe.unit_length)

    def scores(self, embeddings: Embeddings, seed: int) -> RepeatScores:
        """Both rows of one repeat, with R-precision both ways: motions of a text, and texts of a motion.

        The K2M paper says that texts are ranked, the published programs rank motions.
        """
        found = super().scores(embeddings, seed)
        order = torch.from_numpy(np.random.RandomState(seed).permutation(len(embeddings.text)))
        rows = []
        for values, motion in ((found.generated, embeddings.generated), (found.ground_truth, embeddings.real)):
            tops = retrieval(motion[order], embeddings.text[order]).top_k.tolist()
            rows.append(values | {f"r_precision_texts_top_{k}": share for k, share in enumerate(tops, start=1)})
        return RepeatScores(rows[0], rows[1], found.notes)

    def inputs(self, motions: Sequence[Motion], jobs: Sequence[Job], clips: ScoredClips) -> tuple[list[Tensor], float]:
        """(L, 18, 3) keypoints of each motion, at the rate of the clips."""
        one_rate(motions)
        return [self._seen(*pair, clips) for pair in zip(motions, jobs, strict=True)], clips.real_fps

    def _seen(self, motion: Motion, job: Job, clips: ScoredClips) -> Tensor:
        store = clips.store
        assert isinstance(store, KeypointStore)  # as `check` has seen
        size = store.image_size(clips.examples[job.item].clip)
        if size is None:
            raise ValueError(f"{store.path} does not tell the image size of its clips. Prepare it with --size.")
        points = convert_joints(_at_rate(motion, clips.real_fps), motion.skeleton, COCO17)
        rng = ItemRandom.from_seed(mix_seed(clips.seed + job.repeat, job.item, job.sample, VIEW))
        pixels, size = self.views(motion, points, size, rng)
        return torch.from_numpy(with_image_size(pixels.numpy(), torch.ones(pixels.shape[:2]).numpy(), size))


def _at_rate(motion: Motion, fps: float) -> Tensor:
    """(L, J, 3) joints at another rate, for as long as the motion lasts, begun frames counted: the last one is held."""
    if motion.fps == fps:
        return torch.from_numpy(motion.array())
    held = np.concatenate([motion.array(), motion.array()[-1:]])
    frames = math.ceil(motion.seconds * fps - 1e-6)
    return torch.from_numpy(resample_positions(held, motion.fps, fps)[:frames])

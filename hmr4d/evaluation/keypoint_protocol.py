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

VIEW = 1 << 21  # distinguishes the seeds of random cameras from other seeds
Size = tuple[int, int]


class MotionViews(Protocol):
    """Interface: chooses the camera that projects a generated motion."""

    def __call__(self, motion: Motion, points: Tensor, size: Size, rng: ItemRandom) -> tuple[Tensor, Size]:
        """Projects points (L, 17, 3), meters, y up, to pixels (L, 17, 2); also returns the image size, which may
        differ from `size`."""
        ...


class OwnCamera:
    """The camera that the model reports (`hmr4d.motion.motion.CAMERA`).

    The image keeps the size of the reported camera. The features are relative to the image center and in units of the
    longer side, so a model with one focal length gives the same features for every image size.
    """

    def __call__(self, motion: Motion, points: Tensor, size: Size, rng: ItemRandom) -> tuple[Tensor, Size]:
        camera = motion.provenance.more.get(CAMERA)
        if not isinstance(camera, dict):
            raise ValueError(
                "The generated motions have no camera; models of 3D motion report none. Use random cameras: "
                "views2d=drawn."
            )
        own = (int(camera["size"][0]), int(camera["size"][1]))
        zero = torch.zeros(())
        pose = camera_pose(zero, zero, zero, torch.tensor(camera["center"], dtype=torch.float32))
        focal, (width, height) = float(camera["focal"]), own
        K4 = torch.tensor([focal, focal, width / 2, height / 2])
        rig = Rig(torch.tensor([own], dtype=torch.float32), K4[None], pose[None])
        return project(rig, points)[0][0], own


@dataclass(frozen=True)
class DrawnCameras:
    """Random cameras as in `prepare render-2d`, with the image size of the real clip.

    Attributes:
        cameras: distribution of the cameras; its image sizes are not used.
    """

    cameras: CameraDraws = field(default_factory=CameraDraws)

    def __call__(self, motion: Motion, points: Tensor, size: Size, rng: ItemRandom) -> tuple[Tensor, Size]:
        wanted = replace(self.cameras, sizes=(size,))
        reach = float((points.amax((0, 1)) - points.amin((0, 1))).norm())
        anywhere = replace(wanted, inside=0.0, min_height=0.0, distance=(reach + 1, reach + max(wanted.distance)))
        drawn = wanted.draw(points, rng) or anywhere.draw(points, rng)
        if drawn is None:
            raise ValueError(
                f"No camera of the distribution covers the motion for '{motion.text}', which spans "
                f"{reach:.1f} m. Use a wider distribution."
            )
        return drawn[0], size


class KeypointPreparation(StandardPreparation):
    """`StandardPreparation` for clips of 2D keypoints (L, 18, 3) at the frame rate of the statistics."""

    def __init__(self, statistics: KeypointStatistics, *, max_rows: int = MAX_ROWS, unit: int = 4) -> None:
        self.statistics, self.max_rows, self.unit = statistics, max_rows, unit

    def encode(self, motions: Sequence[Tensor | NDArray[Any]], fps: float) -> Encoded:
        """Features of whole clips.

        Raises:
            ValueError: the rate differs from that of the statistics, or the keypoints cannot be encoded.
        """
        if fps != self.statistics.fps:
            raise ValueError(
                f"The keypoints have {fps:g} frames per second, the evaluator expects "
                f"{self.statistics.fps}. Prepare the data at that rate."
            )
        clips = [as_tensor(motion).float() for motion in motions]
        features = pad_sequence([keypoint_features(clip, self.statistics.variant) for clip in clips], batch_first=True)
        return Encoded(clips, features, torch.tensor([len(clip) for clip in clips]))


class KeypointProtocol(StandardProtocol):
    """The standard protocol for an evaluator of 2D keypoints; it has no 3D metrics.

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
        """Both rows of one repeat, with R-precision in both directions: motions ranked for a text and texts for a
        motion.

        The paper that evaluates in 2D ("Learning Text-driven 3D Human Motion Generation from 3D-free Web Videos", 2025)
        states that texts are ranked; published evaluation code ranks motions.
        """
        standard = super().scores(embeddings, seed)
        order = torch.from_numpy(np.random.RandomState(seed).permutation(len(embeddings.text)))
        rows = []
        for values, motion in ((standard.generated, embeddings.generated), (standard.ground_truth, embeddings.real)):
            tops = retrieval(motion[order], embeddings.text[order]).top_k.tolist()
            rows.append(values | {f"r_precision_texts_top_{k}": share for k, share in enumerate(tops, start=1)})
        return RepeatScores(rows[0], rows[1], standard.notes)

    def inputs(self, motions: Sequence[Motion], jobs: Sequence[Job], clips: ScoredClips) -> tuple[list[Tensor], float]:
        """Keypoints (L, 18, 3) of each motion at the frame rate of the clips."""
        one_rate(motions)
        return [self._seen(*pair, clips) for pair in zip(motions, jobs, strict=True)], clips.real_fps

    def _seen(self, motion: Motion, job: Job, clips: ScoredClips) -> Tensor:
        store = clips.store
        assert isinstance(store, KeypointStore)  # as `check` has seen
        size = store.image_size(clips.examples[job.item].clip)
        if size is None:
            raise ValueError(f"{store.path} has no image size of its clips. Prepare it with --size.")
        points = convert_joints(_at_rate(motion, clips.real_fps), motion.skeleton, COCO17)
        rng = ItemRandom.from_seed(mix_seed(clips.seed + job.repeat, job.item, job.sample, VIEW))
        pixels, size = self.views(motion, points, size, rng)
        return torch.from_numpy(with_image_size(pixels.numpy(), torch.ones(pixels.shape[:2]).numpy(), size))


def _at_rate(motion: Motion, fps: float) -> Tensor:
    """Joints (L, J, 3) at another frame rate, with the duration rounded up to whole frames; the last frame is held."""
    if motion.fps == fps:
        return torch.from_numpy(motion.array())
    held = np.concatenate([motion.array(), motion.array()[-1:]])
    frames = math.ceil(motion.seconds * fps - 1e-6)
    return torch.from_numpy(resample_positions(held, motion.fps, fps)[:frames])

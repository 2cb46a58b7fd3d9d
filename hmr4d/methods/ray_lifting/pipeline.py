"""Ray lifting: a regressor of distances along the rays of one calibrated camera, and a body fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hmr4d.body.skeleton import SMPL22
from hmr4d.diffusion.requests import seeds_of
from hmr4d.geometry.rigs import Rig, project
from hmr4d.methods.base import Pipeline
from hmr4d.methods.ray_lifting.depth_hints import resample_depth, with_depth
from hmr4d.methods.ray_lifting.features import (
    NUM_FEATURES,
    NUM_OUTPUTS,
    Prediction,
    RayTrack,
    averaged,
    mirrored_back,
    mirrored_view,
    ray_track,
    read_outputs,
)
from hmr4d.methods.ray_lifting.fit import (
    NUM_LENGTHS,
    Body,
    RayFitOptions,
    Shape,
    alike_on_both_sides,
    fit_body,
    hub_shapes,
    log_lengths,
)
from hmr4d.methods.ray_lifting.losses import RayTrainingOptions, loss_terms
from hmr4d.methods.ray_lifting.network import RayNetwork
from hmr4d.methods.ray_lifting.ray_frame import FEET, RayFrame
from hmr4d.methods.ray_lifting.requests import check_tracks, rigs_for_all
from hmr4d.methods.ray_lifting.samples import draw_errors, moved
from hmr4d.methods.ray_lifting.uncertainty import error_sizes, evidence, own_log_sizes, size_scores
from hmr4d.motion.ground_contact import rest_heights
from hmr4d.motion.motion import MotionBatch, Provenance
from hmr4d.motion.tracks import join, reflected_frames, resample_motion, resample_track, window_starts
from hmr4d.utils.precision import full_precision

WINDOW, OVERLAP = 240, 60  # frames; windows of long tracks
BONE_WINDOWS = 8  # windows of a long track that determine the bone lengths
_NO_SIZE = ("root", "bones", "stands")  # joined and resampled quantities that are not logarithms of meters
SIZES = ("sigma_along", "sigma_across", "sigma")  # order of the expected errors
SCORED_FRAMES = 4  # every fourth frame trains the expected errors; neighbors tell nearly the same
# Of a network without `uncertainty`, measured on validation clips by benchmarks/lifting_cameras.py.
CALIBRATION = {"sigma_along": 0.99, "sigma_across": 1.54, "sigma": 2.25}


class RayLiftingPipeline(Pipeline):
    """The regression network with its pre- and post-processing.

    Args:
        network: network with NUM_FEATURES inputs and NUM_OUTPUTS outputs.
        training: weights of the loss.
        fps: frame rate of the network.
        foot_heights: part of the foot -> height of its joint in a standing foot, meters.
        fit: options of the body fit.
        calibration: name of an uncertainty of `lift` -> factor on the error predicted by the network.
    """

    method = "ray_lifting"
    uses_depth = True

    def __init__(
        self,
        network: RayNetwork,
        *,
        training: RayTrainingOptions | None = None,
        fps: float = 20.0,
        foot_heights: Mapping[str, float] | None = None,
        fit: RayFitOptions | None = None,
        calibration: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        widths = network.num_features, network.num_outputs
        if widths != (NUM_FEATURES, NUM_OUTPUTS):
            raise ValueError(
                f"The network has {widths} features and outputs; expected {(NUM_FEATURES, NUM_OUTPUTS)} for "
                f"'{SMPL22.name}'. Use the values of the configuration."
            )
        self.network, self.training_options, self.fps = network, training or RayTrainingOptions(), fps
        self.foot_heights, self.fit = dict(foot_heights or {}), fit or RayFitOptions()
        self.calibration = {**CALIBRATION, **(calibration or {})}

    @property
    def rest(self) -> Tensor:
        """Heights (4,) of the joints of standing feet, meters."""
        return rest_heights(SMPL22, self.foot_heights)[list(FEET)]

    # --- training --------------------------------------------------------------------------------------------------

    def draw_training(self, batch: dict[str, Any], generator: torch.Generator) -> None:
        """Returns None: all random numbers are part of the batch."""

    def predict(self, track: RayTrack, valid: Tensor) -> Prediction:
        """Network prediction for a track with valid frames (B, L)."""
        return read_outputs(self.network(track.features, valid), track)

    def training_loss(self, batch: dict[str, Any], draws: Any) -> dict[str, Tensor]:
        """Loss terms by name on a batch of `RayBatches`."""
        del draws
        rig, valid = Rig(batch["size"], batch["K4"], batch["T_w2c"]), batch["valid"]
        if self.network.uncertainty is not None:
            return self._uncertainty_loss(batch, rig, valid)
        with torch.no_grad():
            track = ray_track(rig, batch["kp2d_obs"], batch["conf"], batch["rest"], fps=self.fps, valid=valid)
        predicted = self.predict(track, valid)
        return loss_terms(predicted, track, batch["joints3d"], batch["contact"], valid, self.training_options)

    def _uncertainty_loss(self, batch: dict[str, Any], rig: Rig, valid: Tensor) -> dict[str, Tensor]:
        """Loss of the network of the expected errors; the prediction of the joints is used as it is.

        Feet are assumed at the heights of lifting, not at the true ones, so these errors count, too.
        """
        with torch.no_grad():
            track, predicted, other = self._predict_twice(rig, batch["kp2d_obs"], batch["conf"], valid)
            known = evidence(track, predicted, other, valid, fps=self.fps)
            errors = error_sizes(predicted, track, batch["joints3d"])
        some = slice(None, None, SCORED_FRAMES)
        log_sizes = self._log_sizes(predicted, known)
        scores = [
            (size_scores(sizes[:, some], errors[:, some]).mean(-1) * valid[:, some]).sum() / valid[:, some].sum()
            for sizes in (log_sizes, own_log_sizes(predicted))
        ]
        return {"loss": scores[0], "own_scales": scores[1]}

    def _predict_twice(
        self, rig: Rig, kp2d: Tensor, conf: Tensor, valid: Tensor
    ) -> tuple[RayTrack, Prediction, Prediction]:
        """The track in the ray frame, the mean of the predictions for it and for its mirror image, and the former
        alone."""
        seen, rest = (rig, kp2d, conf), self.rest.to(kp2d)
        track, mirrored = (ray_track(*v, rest, fps=self.fps, valid=valid) for v in (seen, mirrored_view(*seen)))
        one = self.predict(track, valid)
        return track, averaged(one, mirrored_back(self.predict(mirrored, valid))), one

    def _log_sizes(self, predicted: Prediction, known: Tensor) -> Tensor:
        """Logarithms of the expected errors (B, L, 22, 3) in the order of SIZES, before calibration."""
        own, network = own_log_sizes(predicted), self.network.uncertainty
        return own if network is None else own + network(known)

    # --- lifting ---------------------------------------------------------------------------------------------------

    def lift(
        self,
        kp2d: Tensor,
        conf: Tensor,
        rig: Rig,
        *,
        fps: float | None = None,
        lengths: Tensor | None = None,
        seed: int | Sequence[int] = 0,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        num_samples: int = 1,
        num_inference_steps: int | None = None,
        depth: Tensor | None = None,
    ) -> MotionBatch:
        """Lifts tracks as in `Pipeline.lift`; the motion is independent of seed and number of samples.

        Samples are perturbations of the prediction by errors of the predicted size, each with its own fit. Tracks
        longer than a window are lifted in cross-faded windows with the bone lengths of the whole track.

        Returns: The motions on the CPU. `extras` contains "sigma" (B, L, J), meters (90 % of the errors are below 1.645
            sigma); "sigma_along" and "sigma_across" (B, L, J), the same along and across the ray; "uncertainty" (B, L,
            J), meters, the expected error; "stands" (B, L, 4), predicted probability that the foot stands; "residual",
            zero; "spread" (B, L, J), meters, root mean square distance of the samples from the motion, zero for one
            sample; and, for several samples, "samples" (B, K, L, J, 3).

        Raises:
            ValueError: diffusion steps are requested, or shapes do not match.
        """
        if num_samples < 1 or num_inference_steps is not None:
            raise ValueError(
                f"{self.method} has no diffusion steps and needs num_samples of at least 1; got "
                f"num_samples={num_samples} and num_inference_steps={num_inference_steps}. Remove num_inference_steps."
            )
        rate = self.fps if fps is None else fps
        frames: Tensor = torch.full((len(kp2d),), kp2d.shape[1]) if lengths is None else lengths.cpu()
        check_tracks(kp2d, conf, frames, rate, self.skeleton, depth)
        depths = torch.full_like(conf, torch.nan) if depth is None else depth
        batched = rigs_for_all(rig, len(kp2d))
        device = next(self.network.parameters()).device
        seeds, results = seeds_of(seed, generator, len(kp2d), "tracks"), []
        for row, length in enumerate(frames.tolist()):
            camera = Rig(*(x[row : row + 1, :1].to(device).float() for x in (batched.size, batched.K4, batched.T_w2c)))
            track = [x[row : row + 1, :length].to(device).float() for x in (kp2d, conf, depths)]
            drawn = [seeds[row] + k for k in range(num_samples)] if num_samples > 1 else []
            results.append(self._lift_track(track[0], track[1], track[2], camera, rate, drawn))
        motions = {
            key: nn.utils.rnn.pad_sequence([one[key] for one in results], batch_first=True) for key in results[0]
        }
        joints3d = motions.pop("joints3d")
        motions["residual"] = torch.zeros_like(joints3d[..., 0])
        motions["spread"] = motions["residual"]
        if num_samples > 1:
            motions["samples"] = motions["samples"].transpose(1, 2)
            off = motions["samples"] - joints3d[:, None]
            motions["spread"] = off.square().sum(-1).mean(1).sqrt()
        return MotionBatch(
            joints3d=joints3d,
            lengths=frames,
            fps=rate,
            skeleton=self.skeleton,
            rig=batched.to("cpu"),
            joints2d=project(batched.to("cpu").to(torch.float32), joints3d)[0],
            provenance=Provenance.from_metadata(self.about),
            extras=motions,
            seeds=seeds,
        )

    @full_precision
    @torch.no_grad()
    def _lift_track(
        self, kp2d: Tensor, conf: Tensor, depth: Tensor, camera: Rig, rate: float, drawn: Sequence[int]
    ) -> dict[str, Tensor]:
        """Motion, uncertainty and samples (L, K, 22, 3) of one track, on the CPU, without batch axis.

        Args:
            kp2d, conf, depth, camera, rate: the track, (1, L, 22, ...).
            drawn: seeds of the additional samples.
        """
        length = kp2d.shape[1]
        conf = conf * (conf >= self.min_conf) * kp2d.isfinite().all(-1)
        depth = resample_depth(depth, rate, self.fps)
        kp2d, conf = resample_track(torch.where(conf[..., None] > 0, kp2d, 0.0), conf, rate, self.fps)
        own = kp2d.shape[1]
        place = reflected_frames(torch.tensor([own]), own)[0]
        kp2d, conf, depth = kp2d[:, place], conf[:, place], depth[:, place]
        starts = window_starts(kp2d.shape[1], WINDOW, OVERLAP)
        shape = self._shape(kp2d, conf, depth, camera, starts)
        errors = [draw_errors(kp2d.shape[1], self.fps, seed) for seed in drawn]
        parts: dict[str, Tensor] = {}
        shapes: list[Shape | None] = []
        for start in starts:
            frame, predicted, log_sizes = self._window(kp2d, conf, depth, camera, start)
            others = [moved(predicted, error[start : start + WINDOW], log_sizes.exp()) for error in errors]
            keeps = len(starts) > 1
            bodies = [
                fit_body(one, frame, self.rest, shape, fps=self.fps, options=self.fit, fixed_lengths=keeps)
                for one in (predicted, *others)
            ]
            shapes = [body.shape for body in bodies]
            now = {"root": torch.stack([b.root for b in bodies], 1), "bones": torch.stack([b.bones for b in bodies], 1)}
            sizes = dict(zip(SIZES, log_sizes[0].unbind(-1), strict=True))
            now |= {**sizes, "uncertainty": sizes["sigma"], "stands": torch.sigmoid(predicted.contact[0])}
            parts = {key: _joined(parts.get(key), value.cpu(), start) for key, value in now.items()}
        parts = {key: resample_motion(x[None, :own], self.fps, rate, length)[0] for key, x in parts.items()}
        parts = {key: x if key in _NO_SIZE else x.exp() for key, x in parts.items()}
        trees = zip(parts.pop("root").unbind(1), parts.pop("bones").unbind(1), shapes, strict=True)
        joints3d = [Body(root, vectors, None if one is None else one.cpu()).joints3d for root, vectors, one in trees]
        samples = {"samples": torch.stack(joints3d[1:], 1)} if drawn else {}
        return {"joints3d": joints3d[0], **samples, **parts}

    def _window(
        self, kp2d: Tensor, conf: Tensor, depth: Tensor, camera: Rig, start: int
    ) -> tuple[RayFrame, Prediction, Tensor]:
        """The ray frame of a window, the combined prediction of the network (original and mirrored) and the detector,
        and the logarithms of its calibrated error sizes (1, L, 22, 3)."""
        window = slice(start, start + WINDOW)
        valid = torch.ones_like(conf[:, window, 0], dtype=torch.bool)
        track, predicted, one = self._predict_twice(camera, kp2d[:, window], conf[:, window], valid)
        known = evidence(track, predicted, one, valid, fps=self.fps)
        factors = predicted.along.new_tensor([self.calibration[name] for name in SIZES])
        log_sizes = self._log_sizes(predicted, known) + factors.log()
        return track.frame, with_depth(predicted, track.frame, depth[:, window]), log_sizes

    def _shape(self, kp2d: Tensor, conf: Tensor, depth: Tensor, camera: Rig, starts: Sequence[int]) -> Shape:
        """Constant shape of the body: the mean over windows of a track.

        If a track has several windows, evenly spaced ones are fitted for this.
        """
        count = min(len(starts), BONE_WINDOWS)
        chosen = [starts[k * len(starts) // count] for k in range(count)]
        sums, total, hubs = kp2d.new_zeros(NUM_LENGTHS), kp2d.new_zeros(NUM_LENGTHS), []
        for start in chosen:
            frame, predicted, _ = self._window(kp2d, conf, depth, camera, start)
            lengths, weights = (x[0] for x in log_lengths(predicted, frame))
            hubs.append(hub_shapes(predicted, frame)[0])
            if len(starts) > 1:
                own = Shape(lengths, hubs[-1])
                fitted = fit_body(predicted, frame, self.rest, own, fps=self.fps, options=self.fit).shape
                lengths = lengths if fitted is None else fitted.lengths
            sums, total = sums + weights * lengths, total + weights
        return Shape(sums / total.clamp(min=1e-9), alike_on_both_sides(torch.stack(hubs).mean(0)))


def _joined(before: Tensor | None, now: Tensor, start: int) -> Tensor:
    """Appends a window that begins at frame `start` to a track (N, ...), cross-faded over the common frames."""
    if before is None:
        return now
    common = len(before) - start
    both = join(before[None, start:], now[None, :common])[0]
    return torch.cat([before[:start], both, now[common:]])

"""Options of sampling and training of Mocap-2-to-3.

The paper (arXiv 2503.03222) does not specify diffusion schedule, loss and triangulation weights; the defaults are
choices of this project. Smoothing, constant bones and `noise_share` are additions and off by default.
"""

from __future__ import annotations

from dataclasses import dataclass

from hmr4d.utils.options import check_at_least, check_choices, check_shares


@dataclass(frozen=True)
class LiftSamplingOptions:
    """Options of sampling and lifting.

    Attributes:
        num_inference_steps: number of diffusion steps; 1 is a regression from noise.
        step: "posterior" (ancestral) or "ddim" (deterministic given the initial noise).
        consistency: weight of the reprojected motion in the input of the next step; 0 keeps the views independent and
            triangulates only at the end.
        free_share: fraction of the steps, starting with the noisiest, without consistency.
        keep_observed: view 0 is replaced by the observation in every step.
        observed_weight: triangulation weight of an observed joint of confidence 1; generated joints have weight 1.
        min_conf: joints of lower confidence count as missing.
        window, overlap: frames; longer tracks are sampled in windows of `window` frames that overlap by `overlap`.
            `window` must not exceed the training length of the network.
        smooth_observed: standard deviation of temporal Gaussian smoothing of the observed keypoints, seconds. Smoothing
            the result instead does not remove the error that noisy pixels cause for rays that meet the floor far away.
        smooth_image, smooth_depth, smooth_limb_depth: standard deviations of temporal Gaussian smoothing of the result,
            seconds: perpendicular to the rays of view 0, in the depth of the root (the least certain coordinate of one
            view), and in the depth of the other joints relative to the root. 0: no smoothing.
        constant_bones: fit the result to constant bone lengths (`bone_fit`).
        guess_noise: noise added to a guess before sampling, as a fraction of the diffusion steps.
    """

    num_inference_steps: int = 100
    step: str = "posterior"
    consistency: float = 1.0
    free_share: float = 0.0
    keep_observed: bool = True
    observed_weight: float = 5.0
    min_conf: float = 0.3
    window: int = 300
    overlap: int = 60
    smooth_observed: float = 0.0
    smooth_image: float = 0.0
    smooth_depth: float = 0.0
    smooth_limb_depth: float = 0.0
    constant_bones: bool = False
    guess_noise: float = 0.25

    def __post_init__(self) -> None:
        check_choices(self, step=("posterior", "ddim"))
        check_shares(self, "consistency", "free_share", "min_conf", "guess_noise")
        check_at_least(self, 0, "smooth_observed", "smooth_image", "smooth_depth", "smooth_limb_depth")
        if not self.observed_weight > 0:
            raise ValueError(f"LiftSamplingOptions.observed_weight is {self.observed_weight}; expected more than 0.")


@dataclass(frozen=True)
class LiftTrainingOptions:
    """Options of training and weights of the losses.

    Attributes:
        drop_camera: probability that an item trains without cameras and maps.
        token_weight: weight of the squared error of the global tokens; that of the local points has
            weight 1. Both are means, so 2 / J gives equal weights per channel.
        points_weight: weight of the absolute error of decoded points, normalized image coordinates.
        velocity_weight: weight of the absolute error of the differences between frames of decoded points.
        metres_weight: weight of the absolute error of decoded points in meters at the true depth; requires 3D motion.
        noise_share: fraction of the items that train the last diffusion step, which is pure
            noise; the others train a random step. 1 trains a regression.
        monitor_noise: noise added to the motion in validation, as a fraction of the diffusion steps.
    """

    drop_camera: float = 0.1
    token_weight: float = 2.0
    points_weight: float = 0.1
    velocity_weight: float = 0.05
    metres_weight: float = 0.0
    noise_share: float = 0.0
    monitor_noise: float = 0.4

    def __post_init__(self) -> None:
        check_shares(self, "drop_camera", "noise_share", "monitor_noise")
        check_at_least(self, 0, "token_weight", "points_weight", "velocity_weight", "metres_weight")

"""Options of sampling and losses of Mocap-2-to-3.

The paper (arXiv 2503.03222) gives no diffusion schedule, no loss and no weights of the triangulation. The defaults are
choices made here; smoothing, constant bones and `noise_share` are additions and off by default.
"""

from __future__ import annotations

from dataclasses import dataclass

from hmr4d.utils.options import check_at_least, check_choices, check_shares


@dataclass(frozen=True)
class LiftSamplingOptions:
    """Options of sampling and lifting.

    Attributes:
        num_inference_steps: visited diffusion steps; 1 is a regression from noise.
        step: "posterior" (ancestral) or "ddim" (deterministic given the first noise).
        consistency: share g of the reprojected motion in what the next step starts from; 0 lets the views go their way
            and triangulates at the end alone.
        free_share: share of the steps, from the noisiest on, that go without it.
        keep_observed: view 0 shows what was observed in every step.
        observed_weight: triangulation weight of an observed joint of confidence 1; a drawn one has 1.
        min_conf: joints of lower confidence count as missing.
        window, overlap: frames; longer tracks are drawn in windows of the first that have the second in common. No
            longer than what the network was trained on.
        smooth_observed: seconds; standard deviation of a Gaussian over time along which the observed keypoints are
            smoothed first: where a ray meets the floor far away, errors of pixels do not average out later.
        smooth_image, smooth_depth, smooth_limb_depth: seconds; standard deviations of Gaussians over time along which
            the finished motion is smoothed as view 0 sees it, in the depth of its root, which one view tells worst,
            and in the depth of the other joints against the root. 0 leaves it as it is.
        constant_bones: the finished motion is fitted so that bones keep their length (`bone_fit`).
        guess_noise: share of the diffusion steps that lie between a guess of another method and what is drawn from it.
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
    """Weights of the losses.

    Attributes:
        drop_camera: chance that an item trains without cameras and maps.
        token_weight: weight of the squared error of the global tokens beside that of the local points, which has 1;
            both are means, so that equal weights per channel are 2 / J.
        points_weight: of the absolute error of decoded points, in normalised image coordinates.
        velocity_weight: of the absolute error of their steps from frame to frame.
        metres_weight: of the absolute error of decoded points in metres at the true depth; needs 3D motion.
        noise_share: share of the items that train the last diffusion step, where nothing but noise is left of the
            motion; the others train any. 1 trains a regression.
        monitor_noise: share of the diffusion steps that lie between the motion and what validation predicts from.
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

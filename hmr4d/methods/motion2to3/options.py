"""Options of sampling and losses of Motion-2-to-3."""

from __future__ import annotations

from dataclasses import dataclass

from hmr4d.diffusion.schedule import SPACINGS
from hmr4d.utils.options import check_at_least, check_choices, check_shares


@dataclass(frozen=True)
class SamplingOptions:
    """Options of sampling.

    Attributes:
        num_inference_steps: visited diffusion steps.
        spacing: "even", "quadratic" or "published", see `NoiseSchedule.steps`.
        step: "posterior" (ancestral) or "ddim" (deterministic given the first noise).
        guidance_scale: 1 follows the text in one pass, more exaggerates it in two, 0 ignores it.
        action_pull: share of the nearest known action in the pooled text vector, see `ActionIndex.pulled`; 0 as
            published, and where the model does not list its actions.
        world_noise: views share noise in space, in training too.
        consistency: triangulate and reproject in every step instead of only at the end.
        is_perspective: pinhole views.
        height: "frame" (published) or "clip" scales to the neutral body height; "none" leaves box units.
        accumulate_root: sum the next root to a trajectory; False keeps the figure at the origin.
        smooth: take noise out along time, see `motion.temporal_smoothing`; off as published.
        rigid_bones: bones keep one length, the same left and right, see `motion.cleaning`; off as published.
        plant_feet: feet that stand do not slide, sink or float, see `motion.foot_lock`; off as published.
    """

    num_inference_steps: int = 100
    spacing: str = "even"
    step: str = "posterior"
    guidance_scale: float = 1.0
    action_pull: float = 0.0
    world_noise: bool = True
    consistency: bool = False
    is_perspective: bool = False
    height: str = "frame"
    accumulate_root: bool = True
    smooth: bool = False
    rigid_bones: bool = False
    plant_feet: bool = False

    def __post_init__(self) -> None:
        check_choices(self, step=("posterior", "ddim"), spacing=SPACINGS, height=("frame", "clip", "none"))
        check_at_least(self, 0, "guidance_scale")
        check_shares(self, "action_pull")


@dataclass(frozen=True)
class TrainingOptions:
    """Weights of the losses.

    Attributes:
        drop_text: chance that a sample trains with the empty text.
        drop_cam: chance that a camera embedding row is zeroed, per sample and view.
        drop_token: a sample hides each token state with a chance drawn from [0, drop_token], so that the pooled vector
            alone has to do at times; 0 as published.
        include_padding: average over padded entries too, as published for several views.
        min_conf: points with confidence at or below it do not count.
        velocity_weight: weight of the squared error of `global_velocity`; 0 as published.
        velocity_scale: box units per frame that count as one in that term.
        max_step_weight: the error of x_0 at step t weighs min(1 / (1 - a_t), max_step_weight), so that nearly clean
            motion is learnt exactly; 1 weighs all steps alike, as published. This is Min-SNR weighting (Hang et al.
            2023, arXiv 2303.09556) with SNR + 1 in the place of SNR, since 1 / (1 - a_t) = SNR + 1. Not together with
            include_padding.
        pooled_noise: standard deviation of the noise on each entry of the pooled text vector, which has unit variance;
            networks that see token states alone have none.
        step_power: the noise step is T (1 - u^step_power) for u uniform in [0, 1), in validation too; 1 draws all steps
            alike, as published, more draws the noisy ones more often. Losses of different powers are means over
            different steps: a higher one is not worse. A whole motion shows through far more noise than a single
            number of it does, so that the text decides in the noisiest steps alone what will be done.
    """

    drop_text: float = 0.1
    drop_cam: float = 0.1
    drop_token: float = 0.0
    include_padding: bool = False
    min_conf: float = 0.65
    velocity_weight: float = 0.0
    velocity_scale: float = 0.02
    max_step_weight: float = 1.0
    pooled_noise: float = 0.0
    step_power: float = 1.0

    def __post_init__(self) -> None:
        check_shares(self, "drop_text", "drop_cam", "drop_token")
        check_at_least(self, 1, "max_step_weight", "step_power")
        if self.include_padding and self.max_step_weight > 1:
            raise ValueError(
                f"TrainingOptions.max_step_weight is {self.max_step_weight:g} with include_padding, whose average over "
                "padded entries has no weights of steps. Set include_padding=false, or max_step_weight=1."
            )

"""Options of sampling and training of Motion-2-to-3."""

from __future__ import annotations

from dataclasses import dataclass

from hmr4d.diffusion.schedule import SPACINGS
from hmr4d.utils.options import check_at_least, check_choices, check_shares


@dataclass(frozen=True)
class SamplingOptions:
    """Options of sampling.

    Attributes:
        num_inference_steps: number of diffusion steps in sampling.
        spacing: "even", "quadratic" or "published", see `NoiseSchedule.steps`.
        step: "posterior" (ancestral) or "ddim" (deterministic given the initial noise).
        guidance_scale: scale of classifier-free guidance. 1 needs one network pass; larger values strengthen the text
            and need two; 0 ignores the text.
        guided_share: share of the noise steps, from the noisiest on, in which a guidance above 1 acts (Kynkäänniemi et
            al. 2024, arXiv 2404.07724); the others need one network pass. 1 as published. Runs that start from a
            reference motion are guided in all steps.
        action_pull: weight of the most probable known action in the pooled text vector, see `ActionIndex.pulled`; 0 as
            published, and for models without a list of known actions.
        max_draws: number of motions drawn at most for a prompt, until one shows its action with the probability
            `accepted_from`, see `ActionIndex.agreement`. If none does, the motion with the highest probability is
            taken. 1 as published, and for models whose known actions have no recognizer of motion. Runs with guidance 0
            or from a reference motion are drawn once.
        accepted_from: see `max_draws`.
        world_noise: views share noise in world space, also in training.
        consistency: triangulate and reproject in every step instead of only at the end.
        is_perspective: True for pinhole views.
        height: "frame" (published) or "clip" scales to the neutral body height; "none" leaves box units.
        accumulate_root: sum the root steps to a trajectory; False keeps the figure at the origin.
        smooth: smooth over time, see `motion.temporal_smoothing`; off as published.
        rigid_bones: make bone lengths constant and symmetric, see `motion.cleaning`; off as published.
        plant_feet: keep standing feet from sliding, sinking or floating, see `motion.foot_lock`; off as published.
    """

    num_inference_steps: int = 100
    spacing: str = "even"
    step: str = "posterior"
    guidance_scale: float = 1.0
    guided_share: float = 1.0
    action_pull: float = 0.0
    max_draws: int = 1
    accepted_from: float = 0.9
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
        check_at_least(self, 1, "max_draws")
        check_shares(self, "action_pull", "guided_share", "accepted_from")


@dataclass(frozen=True)
class TrainingOptions:
    """Options of training and weights of the losses.

    Attributes:
        drop_text: probability that a sample trains with the empty text.
        drop_cam: probability that a camera embedding is zeroed, per sample and view.
        drop_token: each sample draws a probability from [0, drop_token] and hides token states with it, so the network
            also learns to use the pooled vector alone; 0 as published.
        include_padding: average also over padded entries, as published for several views.
        min_conf: points with this confidence or less are excluded.
        velocity_weight: weight of the squared error of `global_velocity`; 0 as published.
        velocity_scale: unit of that error, box units per frame.
        max_step_weight: the error of x_0 at step t weighs min(1 / (1 - a_t), max_step_weight), which improves the
            prediction of nearly clean motion; 1 gives all steps the same weight, as published. This is Min-SNR
            weighting (Hang et al. 2023, arXiv 2303.09556) with SNR + 1 instead of SNR, since 1 / (1 - a_t) = SNR + 1.
            It cannot be combined with include_padding.
        pooled_noise: standard deviation of the noise on each entry of the pooled text vector, which has unit variance;
            not used by networks without the pooled vector.
        step_power: the diffusion step is T (1 - u^step_power) for u uniform in [0, 1), in validation too. 1 draws all
            steps with equal probability, as published; larger values favor noisy steps. The network can recognize the
            action of a motion through strong noise, so the text determines the action only in the noisiest steps.
            Losses of different powers are means over different steps and cannot be compared.
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

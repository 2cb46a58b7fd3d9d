"""The baselines by name, with their requirements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from hmr4d.methods.lifting_baselines.ground_ray import ground_ray
from hmr4d.methods.lifting_baselines.optimization import optimization
from hmr4d.methods.lifting_baselines.oracle import oracle


@dataclass(frozen=True)
class Baseline:
    """A lifting algorithm without a network.

    Attributes:
        run: (kp2d (L, J, 2), conf (L, J), rig, fps, skeleton) -> (L, J, 3) metres; (V, L, J, ...) for all views.
        takes_prior: `run` has a keyword `prior`, a pose bank.
        sees_all_views: the input is the 2D of all views, which is available in tests only.
        uses_pose: it uses the pose of the camera relative to the floor.
    """

    run: Callable[..., Tensor]
    takes_prior: bool = False
    sees_all_views: bool = False
    uses_pose: bool = True

    @property
    def is_for_use(self) -> bool:
        """Whether the baseline is meant for use with one camera; the others serve for comparison."""
        return self.uses_pose and not self.sees_all_views


BASELINES: Mapping[str, Baseline] = {
    "oracle": Baseline(oracle, sees_all_views=True),
    "ground_ray": Baseline(ground_ray, takes_prior=True),
    "optimisation": Baseline(optimization, takes_prior=True),
    "optimisation_level": Baseline(partial(optimization, known_camera="intrinsics"), takes_prior=True, uses_pose=False),
}
USABLE = tuple(name for name, baseline in BASELINES.items() if baseline.is_for_use)

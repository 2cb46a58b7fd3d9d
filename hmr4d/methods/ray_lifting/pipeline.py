"""Ray lifting: a regressor of metres along the rays of one calibrated camera, and a fit of a body to what it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.rigs import Rig
from hmr4d.methods.base import Pipeline
from hmr4d.methods.ray_lifting.features import NUM_FEATURES, NUM_OUTPUTS, Prediction, RayTrack, ray_track, read_outputs
from hmr4d.methods.ray_lifting.losses import RayTrainingOptions, loss_terms
from hmr4d.methods.ray_lifting.network import RayNetwork
from hmr4d.methods.ray_lifting.ray_frame import FEET
from hmr4d.motion.ground_contact import rest_heights


class RayLiftingPipeline(Pipeline):
    """The regressor and what is around it.

    Args:
        network: of NUM_FEATURES and NUM_OUTPUTS.
        training: weights of the loss.
        fps: frames per second of the motion that the network knows.
        foot_heights: metres over the floor of standing foot joints by part.
    """

    method = "ray_lifting"

    def __init__(
        self, network: RayNetwork, *, training: RayTrainingOptions | None = None, fps: float = 20.0,
        foot_heights: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        found = network.num_features, network.num_outputs
        if found != (NUM_FEATURES, NUM_OUTPUTS):
            raise ValueError(
                f"The network has {found} features and outputs; expected {(NUM_FEATURES, NUM_OUTPUTS)} for "
                f"'{SMPL22.name}'. Leave them to the configuration."
            )
        self.network, self.training_options, self.fps = network, training or RayTrainingOptions(), fps
        self.foot_heights = dict(foot_heights or {})

    @property
    def rest(self) -> Tensor:
        """(4,) metres over the floor of standing feet."""
        return rest_heights(SMPL22, self.foot_heights)[list(FEET)]

    # --- training --------------------------------------------------------------------------------------------------

    def draw_training(self, batch: dict[str, Any], generator: torch.Generator) -> None:
        """Nothing: all that is random is in the batch."""

    def predict(self, track: RayTrack, valid: Tensor) -> Prediction:
        """What the network says of a track with valid frames (B, L)."""
        return read_outputs(self.network(track.features, valid), track)

    def training_loss(self, batch: dict[str, Any], draws: Any) -> dict[str, Tensor]:
        """Loss terms by name on a batch of `RayBatches`."""
        del draws
        rig, valid = Rig(batch["size"], batch["K4"], batch["T_w2c"]), batch["valid"]
        with torch.no_grad():
            track = ray_track(rig, batch["kp2d_obs"], batch["conf"], batch["rest"], fps=self.fps, valid=valid)
        predicted = self.predict(track, valid)
        return loss_terms(predicted, track, batch["joints3d"], batch["contact"], valid, self.training_options)

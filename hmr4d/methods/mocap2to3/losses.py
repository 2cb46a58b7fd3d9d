"""Training losses of Mocap-2-to-3 on features and decoded points of several views."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from hmr4d.geometry.rigs import Rig, project
from hmr4d.methods.mocap2to3.options import LiftTrainingOptions
from hmr4d.methods.mocap2to3.values import ViewCodec

TINY = 1e-6


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of x over the entries where `mask` (broadcastable, bool) is set; 0 if there are none."""
    weight = mask.expand_as(x).to(x.dtype)
    return (x * weight).sum() / (weight.sum() + TINY)


def step_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Absolute error (..., L - 1, J, 2) of the differences between frames of points (..., L, J, 2)."""
    return ((predicted - target).diff(dim=-3)).abs()


def point_terms(
    predicted: Tensor,
    x_0: Tensor,
    codec: ViewCodec,
    batch: Mapping[str, Tensor],
    known: Tensor,
    options: LiftTrainingOptions,
) -> dict[str, Tensor]:
    """Error terms of decoded points with nonzero weight: name of the weight -> term.

    Args:
        predicted, x_0: (B, V, L, D) features.
        codec: codec of the motion of a view.
        batch: `size` (B, V, 2), and for "metres" `joints3d` (B, L, J, 3), `K4`, `T_w2c`.
        known: (B, V, L, J) bool or broadcastable, points with known targets.
        options: weights.
    """
    wanted = {n for n in ("points", "velocity", "metres") if getattr(options, f"{n}_weight") > 0}
    if not wanted:
        return {}
    size, valid = batch["size"], known[..., None]
    got_px, true_px = codec.decode(predicted, size), codec.decode(x_0, size)
    unit = 2 / size[:, :, None, None]
    terms = {}
    if "points" in wanted:
        terms["points"] = masked_mean(((got_px - true_px) * unit).abs(), valid)
    if "velocity" in wanted:
        terms["velocity"] = masked_mean(step_error(got_px * unit, true_px * unit), valid[:, :, 1:] & valid[:, :, :-1])
    if "metres" in wanted:
        rig = Rig(size, batch["K4"], batch["T_w2c"])
        depth = project(rig, batch["joints3d"])[1][..., None]
        meters = (got_px - true_px) / rig.K4[:, :, None, None, :2] * depth
        in_3d = batch["joints3d"].flatten(1).any(1)[:, None, None, None, None]
        terms["metres"] = masked_mean(meters.abs(), valid & in_3d)
    return terms

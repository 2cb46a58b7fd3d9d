"""Lower bound of lifting errors: triangulation of the true 2D of all views."""

from __future__ import annotations

from torch import Tensor

from hmr4d.body.skeleton import Skeleton
from hmr4d.geometry.rigs import Rig, normalize
from hmr4d.geometry.triangulation import fill_in_time, triangulate_robust


def oracle(kp2d: Tensor, conf: Tensor, rig: Rig, skeleton: Skeleton) -> Tensor:
    """Joints (L, J, 3), meters, world of the rig, triangulated from the true 2D of every view.

    A joint that is never visible in two views at once, such as feet that a detector does not report, gets the position
    of its parent joint.

    Args:
        kp2d: (V, L, J, 2) undistorted pixels of all views.
        conf: (V, L, J) in [0, 1], 0 for missing; a view has the weight conf^2.
        rig: V cameras.
        skeleton: skeleton of the keypoints.

    Raises:
        ValueError: there are fewer than two views, or not one image per camera.
    """
    if kp2d.ndim != 4 or len(kp2d) != rig.num_views or rig.num_views < 2:
        raise ValueError(
            f"kp2d has shape {tuple(kp2d.shape)} for a rig of {rig.num_views} views; expected (V, L, J, 2) with the "
            "2D of at least two views."
        )
    points2d = normalize(rig, kp2d.double())
    triangulated = triangulate_robust(points2d.flatten(1, 2), rig.T_w2c, conf.double().square().flatten(1, 2))
    points, ok = (x.unflatten(0, kp2d.shape[1:3]) for x in (triangulated.points, triangulated.ok))
    joints3d, is_known = fill_in_time(points, ok), ok.any(0)
    for joint, parent in enumerate(skeleton.parents):
        if not is_known[joint] and parent >= 0:
            joints3d[:, joint] = joints3d[:, parent]
    return joints3d.to(kp2d.dtype)

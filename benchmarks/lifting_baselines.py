"""What lifting without networks reaches: python benchmarks/lifting_baselines.py --store STORE --prior FILE.

Clips of the test split stand before drawn cameras; their true 2D, with Gaussian noise in pixels at an image height of
1080, is lifted by each baseline. Prints a table in millimetres and writes the same numbers as JSON.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from hmr4d.body.pose_prior import PosePrior
from hmr4d.body.skeleton import SMPL22, get_skeleton
from hmr4d.data.lifting_rigs import SurroundingRigs
from hmr4d.data.lifting_views import LiftingViews
from hmr4d.geometry.rigs import Rig, project
from hmr4d.metrics.pose_errors import PoseErrorMetric
from hmr4d.models.mocap2to3.baselines.ground_ray import ground_ray
from hmr4d.models.mocap2to3.baselines.optimisation import optimisation
from hmr4d.models.mocap2to3.baselines.oracle import oracle
from hmr4d.representation.view_tokens import ViewTokenCodec
from hmr4d.utils.files import write_json

FPS = 30.0
COLUMNS = ("abs_mpjpe", "mpjpe", "pa_mpjpe", "w_mpjpe", "wa_mpjpe", "t_root", "jitter_10m_s3", "foot_sliding")
Lift = Callable[[Tensor, Tensor, Rig], Tensor]


def main() -> int:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="motion store")
    parser.add_argument("--prior", type=Path, help="file of `prepare.py pose-prior`; without it made-up motion")
    parser.add_argument("--clips", type=int, default=8, help="clips, evenly spread over the test split")
    parser.add_argument("--frames", type=int, default=100, help="most frames of a clip")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 5.0], help="pixels at an image height of 1080")
    parser.add_argument("--skeleton", default=SMPL22.name, help="joints that are seen and scored")
    parser.add_argument("--out", type=Path, default=Path("outputs/lifting_baselines.json"), help="JSON file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    skeleton = get_skeleton(args.skeleton)
    prior = None if args.prior is None else PosePrior.load(args.prior)
    data = LiftingViews(
        str(args.store), "test", rigs=SurroundingRigs(virtual_share=0.0), codec=ViewTokenCodec(skeleton), fps=FPS,
        max_frames=args.frames,
    )  # fmt: skip
    methods: dict[str, Lift] = {
        "oracle, 4 views": lambda k, c, r: oracle(k, c, r, FPS, skeleton),
        "ground ray": lambda k, c, r: ground_ray(k[0], c[0], r, FPS, skeleton, prior=prior),
        "fit": lambda k, c, r: optimisation(k[0], c[0], r, FPS, skeleton, prior=prior),
        "fit, level camera": lambda k, c, r: optimisation(
            k[0], c[0], r, FPS, skeleton, prior=prior, known_camera="intrinsics"
        ),
    }
    rows = []
    for noise in args.noise:
        for name, lift in methods.items():
            found, seconds = _score(lift, data, max(1, len(data) // args.clips), args.clips, noise)
            rows.append({"method": name, "noise": noise, "seconds_per_clip": seconds, **found})
            cells = [f"{found[c]:.0f}" for c in COLUMNS]
            sys.stdout.write(" | ".join([f"{name:18}", f"{noise:4.1f} px", *cells, f"{seconds:.1f} s"]) + "\n")
    write_json(args.out, {"columns": COLUMNS, "prior": prior.source if prior else "procedural", "rows": rows})
    return 0


def _score(lift: Lift, data: LiftingViews, stride: int, count: int, noise: float) -> tuple[dict[str, float], float]:
    """Averages of a method over clips, and seconds a clip."""
    skeleton = data.codec.skeleton
    hips = skeleton.indices("left_hip", "right_hip")
    metric = PoseErrorMetric(FPS, root_joints=hips, foot_joints=skeleton.contact_joints)
    seconds = 0.0
    for index in range(0, stride * count, stride):
        item = data[index]
        rig = Rig(item["size"], item["K4"], item["T_w2c"])
        pixels, _ = project(rig, item["joints3d"])
        shake = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(index))
        pixels = pixels + noise * rig.size[:, 1, None, None, None] / 1080 * shake
        start = time.perf_counter()
        joints3d = lift(pixels, torch.ones_like(pixels[..., 0]), rig)
        seconds += time.perf_counter() - start
        metric.update(joints3d.to(pixels), item["joints3d"], index=index)
    return {name: float(value) for name, value in metric.compute().items()}, seconds / count


if __name__ == "__main__":
    sys.exit(main())

"""How long things take: python benchmarks/bench.py [NAME ...] prints a table and writes benchmarks/results/<date>.json.

--slow adds training steps of the published network and very long clips, --archive PATH the preparing of Bandai-Namco
data.
Every case is run several times and given as the median; cases to compare are run in turn, so that a busy machine slows
all of them alike. Quote ratios rather than seconds.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

from hmr4d.diffusion.schedule import NoiseSchedule
from hmr4d.engine.compose import compose_config
from hmr4d.geometry.cameras import orbit_camera, world_to_camera
from hmr4d.geometry.triangulation import triangulate_orthographic, triangulate_perspective
from hmr4d.methods.motion2to3.denoiser import MotionDenoiser
from hmr4d.methods.motion2to3.options import SamplingOptions, TrainingOptions
from hmr4d.methods.motion2to3.patch_denoiser import PatchDenoiser
from hmr4d.methods.motion2to3.pipeline import Motion2to3Pipeline
from hmr4d.nn.text import HashTextEncoder
from hmr4d.representation.motion2d import Motion2DCodec

Case = Callable[[], Any]
NUM_FEATURES = Motion2DCodec("all_200h_nr").num_features
SCRATCH = tempfile.TemporaryDirectory(prefix="hmr4d_bench_")  # kept until the process ends
PROMPTS = [f"a person walks forward number {i}" for i in range(16)]


@dataclass(frozen=True)
class Options:
    """What the command line asks for besides the groups."""

    slow: bool = False
    archive: Path | None = None


def scratch(name: str) -> Path:
    """A new folder for the files of a case, gone when the process ends."""
    return Path(tempfile.mkdtemp(prefix=f"{name}_", dir=SCRATCH.name))


def network(name: str, text_dim: int) -> MotionDenoiser:
    """A multi-view network of configs/network without dropout, so that every run does the same work."""
    sizes = compose_config(["exp=motion2to3/finetune_mv", f"network={name}"]).network
    own = {key: sizes[key] for key in ("dim", "ff_dim", "num_layers", "num_heads", "text_mode")}
    options = {"use_views": True, "cam_dim": 5, "separate_root_head": True}
    return MotionDenoiser(num_features=NUM_FEATURES, **own, **options, text_dim=text_dim, dropout=0.0)


def published_pipeline(**sampling: Any) -> Motion2to3Pipeline:
    """The published multi-view network (36.6 M parameters) with fresh weights."""
    denoiser = MotionDenoiser(num_features=NUM_FEATURES, use_views=True, cam_dim=5, separate_root_head=True)
    return Motion2to3Pipeline(
        denoiser,
        Motion2DCodec("all_200h_nr"),
        NoiseSchedule(100),
        text_encoder=HashTextEncoder(512),
        sampling=SamplingOptions(**sampling),
        fps=30.0,
    ).eval()


def two_passes(pipeline: Motion2to3Pipeline) -> Motion2to3Pipeline:
    """The same pipeline made to compute the unconditional half too, as the released sampler does at guidance 1."""
    predict = pipeline.predict

    def both(x_t: torch.Tensor, t: int, conditions: Any, guidance_scale: float) -> torch.Tensor:
        predict(x_t, t, conditions, 0.0)
        return predict(x_t, t, conditions, guidance_scale)

    pipeline.predict = both  # type: ignore[method-assign]
    return pipeline


def sampling_published(_: Options) -> dict[str, Case]:
    """Published network, one prompt of 150 frames."""
    cases: dict[str, Case] = {}
    reference = two_passes(published_pipeline())
    cases["100 steps, two passes (as released)"] = lambda: reference.sample(PROMPTS[:1], seconds=5)
    for steps in (100, 50, 20, 10):
        pipeline = published_pipeline(num_inference_steps=steps, step="ddim" if steps < 100 else "posterior")
        cases[f"{steps} steps, one pass"] = lambda p=pipeline: p.sample(PROMPTS[:1], seconds=5)
    return cases


def sampling_default(_: Options) -> dict[str, Case]:
    """The model that ships, 5 seconds a prompt."""
    from hmr4d import load_pipeline

    pipeline = load_pipeline()
    cases: dict[str, Case] = {}
    for steps in (100, 50, 20, 10):
        cases[f"{steps} steps, batch 1"] = lambda s=steps: pipeline.sample(PROMPTS[:1], num_inference_steps=s)
    for batch in (4, 16):
        cases[f"own steps, batch {batch}"] = lambda b=batch: pipeline.sample(PROMPTS[:b])
    return cases


def training_step(options: Options) -> dict[str, Case]:
    """Forward, backward and AdamW on clips in four views; the first number of a case is the batch."""
    setups = [(name, 16, 120, 384, "bandai_namco_20fps", 20.0) for name in ("small", "medium")]
    setups += [("base", 4, 150, 512, "all_200h_nr", 30.0)] if options.slow else []
    cases: dict[str, Case] = {}
    for name, count, frames, text_dim, statistics_name, fps in setups:
        denoiser, encoder = network(name, text_dim), HashTextEncoder(text_dim)
        pipeline = Motion2to3Pipeline(
            denoiser,
            Motion2DCodec(statistics_name),
            NoiseSchedule(100),
            text_encoder=encoder,
            training=TrainingOptions(include_padding=True) if name == "base" else TrainingOptions(velocity_weight=0.1),
            fps=fps,
        )
        optimizer = torch.optim.AdamW(denoiser.parameters(), lr=1e-4)
        text = encoder.encode(PROMPTS[:count])
        T_w2c = orbit_camera(torch.arange(4) * torch.pi / 2, torch.tensor(0.1), torch.tensor(4.5))
        batch = {
            "joints2d": torch.randn(count, 4, frames, 22, 2),
            "lengths": torch.full((count,), frames),
            "valid": torch.ones(count, frames, dtype=torch.bool),
            "T_w2c": T_w2c.expand(count, 4, 4, 4),
            "cam": torch.randn(count, 4, 5),
            "text_tokens": text.tokens,
            "text_valid": text.valid,
            "text_pooled": text.pooled,
        }

        def step(pipeline: Motion2to3Pipeline = pipeline, optimizer: Any = optimizer, batch: Any = batch) -> None:
            draws = pipeline.draw_training(batch, torch.Generator().manual_seed(0))
            pipeline.training_loss(batch, draws)["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()

        size = sum(p.numel() for p in denoiser.parameters()) / 1e6
        cases[f"{count} clips of {frames} frames, {name}, {size:.1f} M parameters"] = step
    return cases


def learner(_: Options) -> dict[str, Case]:
    """A training step on 64 clips of 6 s in two views: a token a frame, then patches, then bfloat16."""
    encoder = HashTextEncoder(384)
    text = encoder.encode([f"a person walks forward number {i}" for i in range(64)])
    batch = {
        "joints2d": torch.randn(64, 2, 120, 22, 2),
        "lengths": torch.full((64,), 120),
        "valid": torch.ones(64, 120, dtype=torch.bool),
        "T_w2c": torch.eye(4).expand(64, 2, 4, 4),
        "cam": torch.randn(64, 2, 5),
        "text_tokens": text.tokens,
        "text_valid": text.valid,
        "text_pooled": text.pooled,
    }

    def training(denoiser: MotionDenoiser | PatchDenoiser, autocast: bool) -> Case:
        pipeline = Motion2to3Pipeline(denoiser, Motion2DCodec("bandai_namco_20fps"), NoiseSchedule(100), fps=20.0)
        optimizer = torch.optim.AdamW(denoiser.parameters(), lr=1e-4)
        pipeline.set_null_text(encoder.encode([""]))

        def step() -> None:
            draws = pipeline.draw_training(batch, torch.Generator().manual_seed(0))
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                pipeline.training_loss(batch, draws)["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    patch = {"num_features": NUM_FEATURES, "cam_dim": 5, "use_views": True}
    return {
        "frame tokens, small": training(network("small", 384), autocast=False),
        "patches, float32": training(PatchDenoiser(**patch), autocast=False),
        "patches, bfloat16": training(PatchDenoiser(**patch), autocast=True),
    }


def attention(_: Options) -> dict[str, Case]:
    """Forward and backward of attention over 62 tokens and 14 memory tokens, batch 64, 5 heads, bfloat16."""
    shapes = [(64, 5, 62, 64), (64, 5, 76, 64), (64, 5, 76, 64)]
    q, k, v = (torch.randn(shape, dtype=torch.bfloat16, requires_grad=True) for shape in shapes)
    bias = torch.zeros(64, 1, 1, 76, dtype=torch.bfloat16)

    def fused() -> None:
        torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias).sum().backward()

    def plain() -> None:
        (torch.softmax((q * 64**-0.5) @ k.transpose(-1, -2) + bias, -1) @ v).sum().backward()

    return {"fused kernel": fused, "matrix products": plain}


def triangulation(_: Options) -> dict[str, Case]:
    """16 clips x 150 frames x 23 points in four views."""
    T_w2c = orbit_camera(torch.arange(4) * torch.pi / 2, torch.tensor(0.1), torch.tensor(4.5)).expand(16, 4, 4, 4)
    points_c = world_to_camera(torch.randn(16, 1, 150 * 23, 3) * 0.5, T_w2c)
    flat, pinhole = points_c[..., :2], points_c[..., :2] / points_c[..., 2:]

    def lstsq() -> torch.Tensor:
        A = T_w2c[:, :, :2, :3].flatten(1, 2)
        b = (flat - T_w2c[:, :, None, :2, 3]).transpose(2, 3).flatten(1, 2)
        return torch.linalg.lstsq(A, b).solution

    def svd() -> torch.Tensor:
        P = T_w2c[:, :, None, :3, :]
        A = (pinhole[..., None] * P[..., 2:, :] - P[..., :2, :]).permute(0, 2, 1, 3, 4).flatten(2, 3)  # (B, N, 2V, 4)
        last = torch.linalg.svd(A, full_matrices=False).Vh[..., -1, :]
        return last[..., :3] / last[..., 3:]

    return {
        "orthographic, 3x3 solves": lambda: triangulate_orthographic(flat, T_w2c),
        "orthographic, lstsq": lstsq,
        "perspective, 3x3 solves in float64": lambda: triangulate_perspective(pinhole, T_w2c),
        "perspective, SVD per point": svd,
    }


def start(_: Options) -> dict[str, Case]:
    """Whole processes, and the warm path from an imported package to files on disk."""

    def process(*words: str) -> Case:
        return lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True)

    def warm() -> None:
        from hmr4d import load_pipeline
        from hmr4d.visualization.motion_files import MotionWriter

        with tempfile.TemporaryDirectory() as folder:
            writer = MotionWriter(folder)
            writer.write(load_pipeline().sample(PROMPTS[:1], seconds=5), [(0, 0)])
            writer.finish()

    tool = Path(__file__).resolve().parents[1] / "tools" / "generate.py"
    out = str(scratch("start") / "out")
    return {
        "python -c 'import hmr4d'": process("-c", "import hmr4d"),
        "tools/generate.py, one prompt, npz mp4 html": process(str(tool), PROMPTS[0], "--out", out),
        "load, sample 5 s, write npz mp4 html, in a warm process": warm,
    }


def drawing(_: Options) -> dict[str, Case]:
    """150 frames of 512 x 512."""
    from hmr4d.motion.motion import Motion
    from hmr4d.visualization.html_viewer import write_html
    from hmr4d.visualization.stick_video import write_stick_video

    joints3d = torch.randn(1, 22, 3).mul(0.3).add(torch.tensor([0.0, 1.0, 0.0])) + 0.01 * torch.randn(150, 22, 3)
    motion, folder = Motion(joints3d, 30, text="text"), scratch("drawing")
    return {
        "mp4": lambda: write_stick_video(folder / "a.mp4", motion),
        "html": lambda: write_html(folder / "a.html", [motion], title="text"),
    }


def mesh(_: Options) -> dict[str, Case]:
    """30 frames of 512 x 512 of the light body, 13,718 vertices."""
    import numpy as np

    from hmr4d.body.loading import load_body
    from hmr4d.motion.skinning import PosedBody
    from hmr4d.visualization.mesh_renderer import MeshRenderer
    from hmr4d.visualization.mesh_video import mesh_frames
    from hmr4d.visualization.video_file import write_mp4
    from hmr4d.visualization.view_camera import PinholeView

    turns = 0.2 * torch.sin(torch.linspace(0, 6, 30))[:, None, None, None]
    rotations = torch.matrix_exp(turns * torch.tensor([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]])).expand(30, 22, 3, 3)
    posed = PosedBody(load_body(), rotations, torch.zeros(30, 3))
    renderer, meshes = MeshRenderer(posed.body.faces), [m.numpy() for m in posed.meshes()]
    T_w2c = np.diag([1.0, -1.0, -1.0, 1.0])
    T_w2c[:3, 3] = 0.0, 0.85, 3.5
    view = PinholeView.of([[820.0, 0, 256], [0, 820, 256], [0, 0, 1]], T_w2c, (512, 512))
    picture = np.zeros((512, 512), np.uint32)
    path = scratch("mesh") / "a.mp4"
    return {
        "mp4": lambda: write_mp4(path, mesh_frames(posed, fps=30), fps=30, size=(512, 512)),
        "frames of the video": lambda: list(mesh_frames(posed, fps=30)),
        "the body shaded": lambda: [renderer.draw(picture, mesh, view) for mesh in meshes],
        "depth": lambda: [renderer.depth(mesh, view) for mesh in meshes],
        "moving the vertices": lambda: list(posed.meshes()),
    }


def data(options: Options) -> dict[str, Case]:
    """A store of 240 clips, and with --archive the preparing of Bandai-Namco data, in this process and in several."""
    from hmr4d.data.importers.bandai_namco import import_bandai_namco
    from hmr4d.data.importers.synthetic import import_synthetic
    from hmr4d.data.store import MotionStore

    folder = scratch("data")
    store = import_synthetic(folder / "synthetic", num_clips=240).path

    def read_all() -> None:
        opened = MotionStore.open(store)
        for clip in range(len(opened)):
            opened.joints3d(clip).sum()

    cases: dict[str, Case] = {
        "open a store": lambda: MotionStore.open(store),
        "open a store and read every clip": read_all,
    }
    if options.archive is not None:
        for name, jobs in (("1 process", 1), ("a process per core", None)):
            cases[f"prepare {options.archive.name}, {name}"] = lambda jobs=jobs: import_bandai_namco(
                options.archive, folder / "prepared", jobs=jobs, overwrite=True
            )
    return cases


def fid(_: Options) -> dict[str, Case]:
    """Metrics of 10,000 embeddings of 512 values."""
    from scipy.linalg import sqrtm

    from hmr4d.metrics.frechet import Gaussian, frechet_distance
    from hmr4d.metrics.text_to_motion import retrieval

    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(512, 512, generator=generator) / 512**0.5
    real, generated = (torch.randn(10_000, 512, generator=generator) @ mix for _ in range(2))
    fitted = Gaussian.fit(real), Gaussian.fit(generated)
    return {
        "covariances and Fréchet distance": lambda: frechet_distance(Gaussian.fit(real), Gaussian.fit(generated)),
        "Fréchet distance alone": lambda: frechet_distance(*fitted),
        "matrix root alone, scipy sqrtm": lambda: sqrtm((fitted[0].covariance @ fitted[1].covariance).numpy()),
        "R-precision and matching score in pools of 32": lambda: retrieval(real, generated),
    }


def hml263(_: Options) -> dict[str, Case]:
    """512 clips of 200 frames to the 263 features of HumanML3D and back."""
    from hmr4d.representation.hml263 import Hml263Codec

    generator = torch.Generator().manual_seed(0)
    joints3d = 0.3 * torch.randn(512, 1, 22, 3, generator=generator)
    joints3d = joints3d + 0.01 * torch.randn(512, 200, 22, 3, generator=generator).cumsum(1)
    lengths = torch.randint(40, 201, (512,), generator=generator)
    published, corrected = Hml263Codec(), Hml263Codec("corrected_hips")
    features = published.encode(joints3d)
    return {
        "encode": lambda: published.encode(joints3d),
        "encode, corrected hips": lambda: corrected.encode(joints3d),
        "encode, padded clips of 40 to 200 frames": lambda: published.encode(joints3d, lengths),
        "encode, clip by clip": lambda: [published.encode(clip) for clip in joints3d],
        "decode by positions": lambda: published.decode(features),
        "decode by rotations": lambda: published.decode_rotations(features),
    }


def fitting(options: Options) -> dict[str, Case]:
    """A body fitted to 150 frames of joints; --slow adds 100,000 frames."""
    import roma

    from hmr4d.body.loading import load_body
    from hmr4d.motion.fitting import fit_body
    from hmr4d.motion.motion import Motion

    body = load_body("anny")
    generator = torch.Generator().manual_seed(0)
    other = body.with_bone_lengths(body.bone_lengths * (0.9 + 0.2 * torch.rand(body.num_joints, generator=generator)))
    angles = 0.5 * torch.sin(torch.linspace(0, 6, 150)[:, None, None] + 6 * torch.rand(22, 3, generator=generator))
    joints3d = other.pose(roma.rotvec_to_rotmat(angles))
    noisy = joints3d + 0.005 * torch.randn(joints3d.shape, generator=generator)
    there_and_back = torch.cat([joints3d, joints3d.flip(0)])
    cases = {
        "shape and pose": lambda: fit_body(Motion(joints3d, 30), body),
        "pose of a body of another size, with refinement": lambda: fit_body(
            Motion(joints3d, 30), body, keep_shape=True
        ),
        "shape and pose, noise of 5 mm": lambda: fit_body(Motion(noisy, 30), body),
    }
    for count in (18_000, 100_000) if options.slow else (18_000,):
        clip = there_and_back.repeat(-(-count // len(there_and_back)), 1, 1)[:count]
        cases[f"shape and pose, {count:,} frames"] = lambda c=clip: fit_body(Motion(c, 30), body)
        cases[f"with refinement, {count:,} frames"] = lambda c=clip: fit_body(Motion(c, 30), body, keep_shape=True)
    return cases


def exports(options: Options) -> dict[str, Case]:
    """Files of a motion whose bones all change their length: a minute and ten at 30 fps; --slow adds 100,000 frames."""
    from hmr4d.body.loading import load_body
    from hmr4d.motion.motion import Motion
    from hmr4d.visualization.motion_files import EXPORTS

    generator = torch.Generator().manual_seed(0)
    sway = torch.randn(1, 22, 3, generator=generator) * torch.linspace(0, 6, 1800).sin()[:, None, None]
    minute = load_body("anny").rest_joints + 0.02 * sway + 0.002 * torch.randn(1800, 22, 3, generator=generator)
    folder = scratch("exports")
    cases = {}
    for count in (1800, 18_000, 100_000) if options.slow else (1800, 18_000):
        clip = Motion(minute.repeat(-(-count // 1800), 1, 1)[:count], 30)
        for name in ("bvh", "glb", "amass", "csv"):
            path = folder / f"{count}.{name}"
            cases[f"{name}, {count:,} frames"] = lambda c=clip, n=name, p=path: EXPORTS[n](p, c)
    return cases


def lifting(_: Options) -> dict[str, Case]:
    """The lifting model that ships, a person in four views; the seconds of motion are in the name."""
    import numpy as np

    from hmr4d import load_pipeline
    from hmr4d.camera.rig_samplers import virtual_rig
    from hmr4d.geometry.rigs import Rig, camera_pose, project
    from hmr4d.motion.procedural import synthetic_joints

    pipeline: Any = load_pipeline("mocap2to3-bandai")
    level = torch.zeros(1)
    camera = Rig(
        torch.tensor([[1920.0, 1080.0]]),
        torch.tensor([[1400.0, 1400.0, 960.0, 540.0]]),
        camera_pose(level + 0.15, level, level, torch.tensor([[0.0, 1.6, 0.0]])),
    )
    walk = torch.from_numpy(synthetic_joints("walk", 100, np.random.default_rng(0)))
    walk = walk - walk[:, :1].mean(0) * torch.tensor([1.0, 0.0, 1.0]) + torch.tensor([0.0, 0.0, -6.0])
    kp2d = project(camera, torch.cat([walk, walk.flip(0)]))[0][:1]  # (1, 200, 22, 2)
    rig = virtual_rig(camera, 6.0)

    def lift(seconds: int, steps: int) -> Case:
        track = kp2d.repeat(1, seconds // 10, 1, 1)
        return lambda: pipeline.lift(
            track, torch.ones(track.shape[:-1]), rig, fps=20, num_inference_steps=steps, num_samples=1
        )

    inputs = pipeline.camera_inputs(Rig(rig.size[None], rig.K4[None], rig.T_w2c[None]))
    return {f"10 s, {steps} steps": lift(10, steps) for steps in (20, 5, 1)} | {
        "60 s, 5 steps": lift(60, 5),
        "300 s, 5 steps": lift(300, 5),
        "pointmaps of a rig and their encoding": lambda: pipeline.camera_inputs(inputs.rig),
    }


GROUPS: dict[str, Callable[[Options], dict[str, Case]]] = {
    "sampling_published": sampling_published,
    "sampling_default": sampling_default,
    "training_step": training_step,
    "learner": learner,
    "attention": attention,
    "triangulation": triangulation,
    "start": start,
    "drawing": drawing,
    "mesh": mesh,
    "data": data,
    "hml263": hml263,
    "fid": fid,
    "fitting": fitting,
    "exports": exports,
    "lifting": lifting,
}


def measure(cases: dict[str, Case], rounds: int) -> dict[str, list[float]]:
    """Seconds of every case, one warm-up each, then `rounds` rounds through all of them in turn."""
    for case in cases.values():
        case()
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            begun = time.perf_counter()
            case()
            seconds[name].append(time.perf_counter() - begun)
    return seconds


def main() -> None:
    known = argparse.ArgumentParser(description=__doc__)
    known.add_argument("groups", nargs="*", choices=[[], *GROUPS], default=[], help="what to measure; all by default")
    known.add_argument("--rounds", type=int, default=5)
    known.add_argument("--slow", action="store_true", help="training of the published network and very long clips too")
    known.add_argument("--archive", type=Path, help="Bandai-Namco data to prepare, folder or tar; else left out")
    args = known.parse_args()
    if args.archive is not None and not args.archive.exists():
        known.error(f"--archive {args.archive} does not exist")
    options = Options(args.slow, args.archive)
    report: dict[str, Any] = {
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "results": {},
    }
    for group in args.groups or GROUPS:
        seconds = measure(GROUPS[group](options), args.rounds)
        first = statistics.median(next(iter(seconds.values())))
        sys.stdout.write(f"\n{group} ({(GROUPS[group].__doc__ or '').strip()})\n")
        sys.stdout.write(f"{'case':58s} {'median s':>10s} {'min s':>10s} {'first / this':>13s}\n")
        for name, values in seconds.items():
            median = statistics.median(values)
            sys.stdout.write(f"{name:58s} {median:10.4f} {min(values):10.4f} {first / median:13.2f}\n")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kilobytes on Linux
        sys.stdout.write(f"Peak memory of this process so far: {peak:.0f} MB\n")
        report["results"][group] = seconds
    path = Path(__file__).parent / "results" / f"{report['date']}.json"
    path.parent.mkdir(exist_ok=True)
    if path.is_file():  # groups that were measured earlier that day stay
        report["results"] = json.loads(path.read_text("utf-8"))["results"] | report["results"]
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"\nWritten to {path}\n")


if __name__ == "__main__":
    main()

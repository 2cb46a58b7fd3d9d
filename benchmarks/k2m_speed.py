"""How fast K2M is: python benchmarks/k2m_speed.py [--model NAME] [--rounds 5] [--threads 2]

Body and projection of 15,360 frames forwards and backwards, and generating 5 seconds by the networks of
`exp=k2m/full_small` (fresh weights, which take as long as trained ones) or by a released model. Prints the median of
the rounds in seconds of the clock and of the processor; on a busy machine only the latter means something.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch

from hmr4d.body.keypoint_body import load_keypoint_body
from hmr4d.engine.compose import compose_config
from hmr4d.geometry.rotations import rotvec_to_matrix
from hmr4d.methods.base import Pipeline
from hmr4d.methods.k2m.method import METHOD
from hmr4d.methods.k2m.projection import project
from hmr4d.methods.registry import load_released

CLIPS, FRAMES = 256, 60
PROMPT, SECONDS = "a person walks forward and waves", 5.0


def body_and_projection() -> Callable[[], None]:
    """Keypoints of a batch of the published training, their pixels, and the gradients of all parameters."""
    body = load_keypoint_body("anny")
    generator = torch.Generator().manual_seed(0)
    pose = (0.3 * torch.randn(CLIPS, FRAMES, body.num_joints, 3, generator=generator)).requires_grad_()
    betas = torch.randn(CLIPS, FRAMES, body.num_betas, generator=generator).requires_grad_()
    translation = torch.tensor([0.0, 0.0, 12.0]).repeat(CLIPS, FRAMES, 1).requires_grad_()
    size = torch.tensor([1280.0, 720.0]).expand(CLIPS, 2)

    def work() -> None:
        points = body(betas, rotvec_to_matrix(pose), translation)[1]
        project(points, size)[0].square().mean().backward()

    return work


def fresh_model() -> Pipeline:
    """The networks of `exp=k2m/full_small` with codebooks that hold something."""
    pipeline = METHOD.build(compose_config(["exp=k2m/full_small"]))
    for book in pipeline.network.motion_tokenizer.quantizer.codebooks():
        book.codebook.normal_()
        book.initialized.fill_(True)
    return pipeline.eval()


def measured(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median seconds of the clock and of the processor, after one round that does not count."""
    work()
    clock, processor = [], []
    for _ in range(rounds):
        begin, used = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - begin)
        processor.append(time.process_time() - used)
    return statistics.median(clock), statistics.median(processor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="released model instead of fresh weights")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = fresh_model() if args.model is None else load_released(args.model, needs="sample")
    cases: dict[str, Callable[[], object]] = {
        f"body and projection, {CLIPS * FRAMES:,} frames, forwards and backwards": body_and_projection(),
        f"generating {SECONDS:g} s": lambda: model.sample([PROMPT], seconds=SECONDS),
    }
    sys.stdout.write(f"{args.threads} threads, {args.rounds} rounds{'':24} clock s  processor s\n")
    for name, work in cases.items():
        clock, processor = measured(work, args.rounds)
        sys.stdout.write(f"{name:68} {clock:8.2f} {processor:12.2f}\n")


if __name__ == "__main__":
    main()

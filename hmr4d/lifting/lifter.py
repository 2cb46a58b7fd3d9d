"""What `hmr4d lift` lifts with: a released model, or a method that needs no weights."""

from __future__ import annotations

from pathlib import Path

from hmr4d.body.skeleton import Skeleton
from hmr4d.methods.base import Method, Pipeline
from hmr4d.methods.defaults import LIFTING_MODEL
from hmr4d.methods.guided import GuidedPipeline
from hmr4d.methods.registry import check_current_name, load_released, untrained_methods
from hmr4d.utils.devices import pick_device

MODEL = "model"
NO_GUESS = "none"


def load_lifter(
    method: str, model: str, *, device: str, keypoints: Skeleton, prior: Path | None = None, guess: str | None = None
) -> Pipeline:
    """What lifts.

    Args:
        method: "model", the name of the model's method (equivalent), or one that needs no weights.
        model: name or folder of a released model.
        device: device of the networks.
        keypoints: skeleton of the keypoints.
        prior: file of poses for methods without weights; None: synthetic motion.
        guess: released model whose motion is the initial guess of a model that takes one; NO_GUESS; or None: the
            default model where that lifts the same joints, else none.

    Raises:
        FileNotFoundError: the model or the file does not exist.
        ValueError: an unknown method, or a model that does not lift.
    """
    check_current_name(method)
    if method in (usable := {} if method == MODEL else usable_untrained()):
        _check_guess(guess, method, takes_one=False)
        return usable[method].untrained(keypoints, prior)
    pipeline = load_released(model, device=pick_device(device), needs="lift")
    if method not in (MODEL, pipeline.method):
        raise ValueError(
            f"--method is '{method}'; choose {MODEL} (which --model names, here one of {pipeline.method}), or lift "
            f"without a network by one of {', '.join(usable)}."
        )
    _check_guess(guess, pipeline.method, takes_one=pipeline.uses_guess)
    if guess == NO_GUESS or not pipeline.uses_guess:
        return pipeline
    guesser = load_released(LIFTING_MODEL if guess is None else guess, device=pick_device(device), needs="lift")
    if guess is None and guesser.skeleton != pipeline.input_skeleton:
        return pipeline
    return GuidedPipeline(pipeline, guesser)


def usable_untrained() -> dict[str, Method]:
    """The methods without weights that are not only for comparison, by name."""
    return {name: method for name, method in untrained_methods().items() if not method.for_comparison}


def _check_guess(guess: str | None, method: str, *, takes_one: bool) -> None:
    """Raises ValueError if a guess is requested for a method that takes none."""
    if guess not in (None, NO_GUESS) and not takes_one:
        raise ValueError(f"--guess is '{guess}', but {method} takes no guess. Remove it.")

"""Texts about the known actions of a model, and checks of prompts that are far from them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from hmr4d.methods.base import Pipeline
from hmr4d.motion.motion import MotionBatch
from hmr4d.nn.action_index import ACTION_AGREEMENT, ActionIndex, PromptMatch
from hmr4d.nn.prompt_checks import prompt_remarks

logger = logging.getLogger(__name__)

DOUBTFUL = 0.5  # probability below which a motion probably does not show the action of its prompt


def action_list(index: ActionIndex) -> str:
    """The known actions as text, one line each, under their groups; a group of one action has one line."""
    lines = [
        f"{len(index.actions)} known actions in {len(index.groups())} groups: training clips, median seconds of "
        "the clips (10th to 90th percentile)"
    ]
    width = max(len(action.name) for action in index.actions) + 4
    for group, actions in index.groups().items():
        if [action.name for action in actions] != [group]:
            lines.append(group)
        for action in actions:
            name = group if action.name == group and len(actions) == 1 else f"    {action.name}"
            span = f"{action.seconds:.1f} s ({action.shortest:.1f} to {action.longest:.1f})"
            lines.append(f"{name:<{width}} {action.num_clips:>4}   {span}")
    return "\n".join(lines) + "\n"


def describe_prompts(
    pipeline: Pipeline, prompts: list[str], seconds: list[float] | None
) -> tuple[list[float], list[dict[str, Any]]]:
    """Durations and metadata of prompts; logs warnings about the prompts.

    Args:
        pipeline: generates the motions.
        prompts: prompts to check.
        seconds: durations given by the user, one per prompt, or None.

    Returns:
        Durations, and for each prompt: `seconds_chosen` if the user gave no duration, and if the model lists its known
            actions `nearest_actions`, `action_distance` (1 - cosine, 0 for the direction of an action) and `is_far`.
    """
    index = pipeline.actions
    nearest = [None] * len(prompts) if index is None else index.match(pipeline.encode_text(prompts).pooled)
    durations = pipeline.suited_seconds(prompts) if seconds is None else seconds
    details = []
    for prompt, known, duration in zip(prompts, nearest, durations, strict=True):
        remarks = prompt_remarks(prompt, pipeline.text_encoder, () if index is None else index.lexicon)
        for remark in remarks:
            logger.warning("%s", remark)
        detail: dict[str, Any] = {"seconds_chosen": True} if seconds is None else {}
        if known is not None:
            detail |= prompt_metadata(known)
            if known.is_far and not remarks:
                logger.warning(
                    "'%s' is far from all actions of the training data; the nearest are: %s. See --list-actions.",
                    prompt,
                    ", ".join(f"{action.name} ({action.group})" for action, _ in known.nearest),
                )
        if seconds is None:
            why = "the usual duration" if known is None else f"as for {known.nearest[0][0].name} and actions like it"
            logger.info("'%s': %.1f s, chosen (%s). Use --seconds for another duration.", prompt, duration, why)
        details.append(detail)
    return durations, details


def prompt_metadata(known: PromptMatch) -> dict[str, Any]:
    """Metadata of a motion file about its prompt."""
    return {
        "nearest_actions": [action.name for action, _ in known.nearest],
        "action_distance": round(1.0 - known.similarity, 3),
        "is_far": known.is_far,
    }


def warn_of_other_actions(motions: MotionBatch, details: Sequence[Mapping[str, Any]]) -> None:
    """Logs a warning for every motion that probably does not show the action of its prompt.

    Args:
        motions: generated motions; without the entry ACTION_AGREEMENT nothing is known about them.
        details: metadata of their prompts from `describe_prompts`; prompts far from all actions have had their warning.
    """
    if not motions.more_provenance:
        return
    for text, seed, more, detail in zip(motions.text, motions.seeds, motions.more_provenance, details, strict=True):
        probability = more.get(ACTION_AGREEMENT)
        if probability is not None and probability < DOUBTFUL and not detail.get("is_far"):
            logger.warning(
                "The motion for '%s' (seed %d) probably does not show this action: the model's recognizer of motion "
                "gives it %.0f %%. Look at it; another --seed or plainer words may help, see --list-actions.",
                text,
                seed,
                100 * probability,
            )

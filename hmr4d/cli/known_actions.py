"""What the generate command tells of a model's known actions and of prompts it can make little of."""

from __future__ import annotations

import logging
from typing import Any

from hmr4d.methods.base import Pipeline
from hmr4d.nn.action_index import ActionIndex, PromptFacts
from hmr4d.nn.prompt_checks import prompt_remarks

logger = logging.getLogger(__name__)


def action_list(index: ActionIndex) -> str:
    """The known actions for a reader, a line each, under their groups; an action that is its group stands alone."""
    lines = [f"{len(index.actions)} known actions in {len(index.groups())} groups: training clips, usual seconds"]
    for group, actions in index.groups().items():
        if [action.name for action in actions] != [group]:
            lines.append(group)
        for action in actions:
            name = group if action.name == group and len(actions) == 1 else f"    {action.name}"
            span = f"{action.seconds:.1f} s ({action.shortest:.1f} to {action.longest:.1f})"
            lines.append(f"{name:<48} {action.num_clips:>4}   {span}")
    return "\n".join(lines) + "\n"


def describe_prompts(
    pipeline: Pipeline, prompts: list[str], seconds: list[float] | None
) -> tuple[list[float], list[dict[str, Any]]]:
    """Durations of prompts and what their files say of them; remarks on the prompts are logged, a sentence each.

    Args:
        pipeline: that makes the motions.
        prompts: to be checked.
        seconds: that the user named, one for each prompt, or None.

    Returns:
        Durations, and for each prompt: `seconds_chosen` where the user named none, and where the model lists its known
        actions `nearest_actions`, `action_distance` (1 - cosine, 0 for the very direction of an action) and `is_far`.
    """
    index = pipeline.actions
    facts = [None] * len(prompts) if index is None else index.facts(pipeline.encode_text(prompts).pooled)
    durations = pipeline.suited_seconds(prompts) if seconds is None else seconds
    details = []
    for prompt, found, duration in zip(prompts, facts, durations, strict=True):
        remarks = prompt_remarks(prompt, pipeline.text_encoder, () if index is None else index.lexicon)
        for remark in remarks:
            logger.warning("%s", remark)
        detail: dict[str, Any] = {"seconds_chosen": True} if seconds is None else {}
        if found is not None:
            detail |= facts_for_files(found)
            if found.is_far and not remarks:
                logger.warning(
                    "'%s' is far from everything this model has learnt; nearest are: %s. See --list-actions.",
                    prompt,
                    ", ".join(f"{action.name} ({action.group})" for action, _ in found.nearest),
                )
        if seconds is None:
            why = "the usual duration" if found is None else f"as for {found.nearest[0][0].name} and actions like it"
            logger.info("'%s': %.1f s, chosen (%s); --seconds names another.", prompt, duration, why)
        details.append(detail)
    return durations, details


def facts_for_files(found: PromptFacts) -> dict[str, Any]:
    """What the files of a motion keep of its prompt."""
    return {
        "nearest_actions": [action.name for action, _ in found.nearest],
        "action_distance": round(1.0 - found.similarity, 3),
        "is_far": found.is_far,
    }

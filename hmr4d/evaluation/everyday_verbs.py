"""Everyday verbs: prompts with geometric checks, the accuracy of the checks on real clips, and success rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
import torch
import yaml

from hmr4d.data.action_labels import contents_of
from hmr4d.data.store import MotionStore
from hmr4d.evaluation.action_recognition import LabeledMotion
from hmr4d.evaluation.prompt_sets import PromptSet, spread
from hmr4d.metrics.figure import Figure, figure
from hmr4d.metrics.geometric_checks import CHECKS

SECONDS = (3.0, 5.0, 8.0)  # default durations of every prompt
CLIPS_PER_CONTENT = 40  # real clips per content that validate the checks
LONGEST = 10.0  # seconds of a real clip that are checked; a minute of dance contains nearly every movement once


@dataclass(frozen=True)
class Verb:
    """A prompt and the geometric check that detects its action.

    Attributes:
        prompt: text given to the model.
        check: name of a check in `hmr4d.metrics.geometric_checks.CHECKS`.
        shown_by: labels (contents or actions) whose real clips show the action.
        may_show: labels of which only some clips show the action; these clips do not validate the check.
    """

    prompt: str
    check: str
    shown_by: frozenset[str]
    may_show: frozenset[str]

    def verdict(self, content: str, action: str) -> bool | None:
        """Whether a real clip shows the action, or None if unknown. Entries for the clip's action override those for
        its content."""
        for label in (action, content):
            if label in self.shown_by:
                return True
            if label in self.may_show:
                return None
        return False


@dataclass(frozen=True)
class CheckOnReal:
    """Accuracy of a check on real clips.

    Attributes:
        check: name of the check.
        num_shown: number of clips that show the action.
        shown: fraction of these clips that pass the check; None without such clips.
        num_others: number of contents that do not show the action.
        others: fraction of their clips that fail the check, averaged over the contents; None without such contents.
        all_others: the same over all clips without the label of the action, including those of `may_show`: a lower
            bound.
        worst: (content, fraction of clips that wrongly pass), the three largest above 0.1.
    """

    check: str
    num_shown: int
    shown: float | None
    num_others: int
    others: float | None
    all_others: float | None
    worst: tuple[tuple[str, float], ...]


@lru_cache(maxsize=1)
def everyday_verbs() -> tuple[Verb, ...]:
    """The packaged prompts."""
    text = (resources.files("hmr4d.data") / "resources" / "everyday_verbs.yaml").read_text(encoding="utf-8")
    return tuple(
        Verb(entry["prompt"], entry["check"], frozenset(entry["shown_by"]), frozenset(entry["may_show"]))
        for entry in yaml.safe_load(text)
    )


def verb_set(seconds: float, limit: int | None) -> PromptSet:
    """The prompts as a prompt set; the content of each prompt is the name of its check."""
    numbers = spread(len(everyday_verbs()), limit)
    verbs = [everyday_verbs()[n] for n in numbers]
    return PromptSet("verbs", [[v.prompt] for v in verbs], [v.check for v in verbs], [seconds] * len(verbs), numbers)


def done(motion: LabeledMotion) -> list[bool]:
    """Whether each motion passes the check named by its label."""
    figures = (figure(clip, motion.fps) for clip in motion.clips)
    return [CHECKS[label](one) for one, label in zip(figures, motion.labels, strict=True)]


def real_figures(store: MotionStore) -> list[tuple[str, str, Figure]]:
    """(content, action, figure) of real clips, selected evenly among the clips of each content."""
    contents = contents_of(store)
    actions = store.labels.get("action", [""] * len(store))
    longest = round(LONGEST * store.fps)
    rows = []
    for content in sorted(set(contents) - {""}):
        clips = np.flatnonzero(contents == content)
        for clip in clips[spread(len(clips), CLIPS_PER_CONTENT)].tolist():
            if store.lengths[clip] >= round(0.5 * store.fps):
                joints3d = torch.tensor(store.joints3d(clip)[:longest])
                rows.append((content, actions[clip], figure(joints3d, store.fps)))
    return rows


def try_checks(verbs: Sequence[Verb], real: Sequence[tuple[str, str, Figure]]) -> list[CheckOnReal]:
    """Accuracy of each verb's check on real clips."""
    return [_try_check(verb, real) for verb in verbs]


def _try_check(verb: Verb, real: Sequence[tuple[str, str, Figure]]) -> CheckOnReal:
    check = CHECKS[verb.check]
    shown: list[bool] = []
    others: dict[str, list[bool]] = {}
    not_said: dict[str, list[bool]] = {}  # clips without the label, and clips that may show the action
    for content, action, body in real:
        verdict = verb.verdict(content, action)
        answer = check(body)
        if verdict:
            shown.append(answer)
            continue
        not_said.setdefault(content, []).append(answer)
        if verdict is False:
            others.setdefault(content, []).append(answer)
    alarms = {content: float(np.mean(answers)) for content, answers in others.items()}
    worst = sorted(((c, share) for c, share in alarms.items() if share > 0.1), key=lambda item: -item[1])[:3]
    return CheckOnReal(
        check=verb.check,
        num_shown=len(shown),
        shown=float(np.mean(shown)) if shown else None,
        num_others=len(alarms),
        others=1.0 - float(np.mean(list(alarms.values()))) if alarms else None,
        all_others=1.0 - float(np.mean([np.mean(a) for a in not_said.values()])) if not_said else None,
        worst=tuple(worst),
    )

"""The known actions of a model, and the similarity of prompts to them: `ActionIndex`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import normalize

from hmr4d.data.store import MotionStore
from hmr4d.nn.action_recognizer import ActionRecognizer
from hmr4d.nn.motion_recognizer import MotionRecognizer
from hmr4d.nn.prompt_checks import words_of
from hmr4d.nn.text_adapter import (
    ADAPTER_NAME,
    AdapterTraining,
    LabeledCaptions,
    TextAdapter,
    caption_votes,
    clip_actions,
    fit_text_adapter,
)
from hmr4d.utils.files import atomic_path

FILE_NAME = "actions.safetensors"  # file in the folder of a released model
FORMAT, VERSION = "hmr4d-actions", 1
SHARPNESS = 20.0  # inverse temperature of the softmax over cosines with the known actions
FALSE_ALARMS = 0.05  # allowed fraction of held-out sentences of known actions that are classified as far
NEAR_COPY = 0.9  # cosine of pooled vectors above which two sentences are held out together
NEAREST = 3
ACTION_AGREEMENT = "action_agreement"  # entry in the provenance of a generated motion: `ActionIndex.agreement`
DRAW = "draw"  # entry beside it: number of rejected draws before the one that was kept


@dataclass(frozen=True)
class KnownAction:
    """An action of the training clips.

    Attributes:
        name: of the action.
        group: group of the action.
        num_clips: number of training clips with the action.
        seconds: median duration of these clips.
        shortest, longest: 10 % and 90 % quantile of their durations, seconds.
    """

    name: str
    group: str
    num_clips: int
    seconds: float
    shortest: float
    longest: float


@dataclass(frozen=True)
class FarCheck:
    """Separation of held-out sentences of known actions from sentences of unknown actions, and the resulting threshold.

    Attributes:
        threshold: prompts with a lower `PromptMatch.similarity` are far from all known actions.
        auc: area under the ROC curve: probability that a known sentence is more similar than an unknown one.
        false_alarms: fraction of held-out sentences of known actions below the threshold.
        caught: fraction of sentences of unknown actions below the threshold.
    """

    threshold: float
    auc: float
    false_alarms: float
    caught: float


@dataclass(frozen=True)
class PromptMatch:
    """The nearest actions of a prompt.

    Attributes:
        nearest: known actions with their similarity, best score first, one per group.
        similarity: largest cosine with an action.
        is_far: whether the prompt is far from all known actions.
        seconds: suitable duration: geometric mean of the actions' median durations, weighted by their probability.
    """

    nearest: tuple[tuple[KnownAction, float], ...]
    similarity: float
    is_far: bool
    seconds: float


class ActionIndex:
    """Known actions and the mean directions of their sentences in the space of a text adapter.

    Args:
        actions: A actions.
        prototypes: (A, C) mean directions of their sentences.
        adapter: text adapter; None: the pooled vectors of the encoder.
        recognizer: scores the actions in addition to the similarity; None: the similarity alone.
        motion_recognizer: recognizes groups of actions in motion; None: `agreement` is not available.
        check: threshold for far prompts; None: no prompt is far.
        lexicon: words of the training captions.
    """

    def __init__(
        self,
        actions: Sequence[KnownAction],
        prototypes: Tensor,
        *,
        adapter: TextAdapter | None = None,
        recognizer: ActionRecognizer | None = None,
        motion_recognizer: MotionRecognizer | None = None,
        check: FarCheck | None = None,
        lexicon: Sequence[str] = (),
    ) -> None:
        if len(actions) != len(prototypes) or not actions:
            raise ValueError(
                f"{len(actions)} actions with {len(prototypes)} prototypes; give one prototype per "
                "action, and at least one action."
            )
        if recognizer is not None and len(recognizer.bias) != len(actions):
            raise ValueError(
                f"{len(actions)} actions with a recognizer of {len(recognizer.bias)}; fit it to the captions of these "
                "actions."
            )
        self.actions, self.prototypes = tuple(actions), normalize(prototypes.float().cpu(), dim=-1)
        self.adapter, self.recognizer, self.motion_recognizer = adapter, recognizer, motion_recognizer
        self.check, self.lexicon = check, frozenset(lexicon)

    def similarities(self, pooled: Tensor) -> Tensor:
        """(B, A) cosines of pooled text vectors (B, C) with the known actions."""
        return self._directions(pooled) @ self.prototypes.T

    def _directions(self, pooled: Tensor) -> Tensor:
        """(B, C) unit vectors in the space of the adapter."""
        pooled = pooled.float().cpu()
        return normalize(pooled if self.adapter is None else self.adapter(pooled), dim=-1)

    def scores(self, pooled: Tensor) -> Tensor:
        """(B, A) logarithms of the actions' probabilities, up to a constant, for pooled text vectors (B, C).

        The similarity and the recognizer make different mistakes; their sum is more often right than either.
        """
        scores = SHARPNESS * self.similarities(pooled)
        return scores if self.recognizer is None else scores + self.recognizer(pooled)

    def pulled(self, pooled: Tensor, share: float) -> Tensor:
        """Pooled text vectors (B, C) in the space of the adapter, moved towards the action with the best score.

        A generator knows the directions of its training sentences; paraphrases have other directions. The best action
        of a paraphrase is correct more often than the generator's motion for it.

        Args:
            pooled: pooled vectors of the text encoder.
            share: weight of the action's direction in the result; 0 gives the adapter's vectors.

        Returns:
            (B, C) with unit variance over the entries, like the adapter's vectors, on the device of `pooled`.
        """
        nearest = self.prototypes[self.scores(pooled).argmax(-1)]
        mixed = normalize((1.0 - share) * self._directions(pooled) + share * nearest, dim=-1)
        return (mixed * mixed.shape[-1] ** 0.5).to(pooled.device)

    def agreement(self, pooled: Tensor, motions: Sequence[Tensor], fps: float) -> Tensor:
        """(B,) probability that a motion shows the group of actions which its prompt asks for.

        It is the sum over the groups of the probabilities by text and by motion, as if both were independent.

        Args:
            pooled: pooled text vectors (B, C) of the prompts.
            motions: B motions (L, 22, 3), meters, y up.
            fps: frames per second of the motions.

        Raises:
            RuntimeError: the index has no recognizer of motion.
        """
        if self.motion_recognizer is None:
            raise RuntimeError("These known actions have no recognizer of motion. Make them again from motion stores.")
        groups = self.motion_recognizer.groups
        columns = torch.tensor([groups.index(a.group) if a.group in groups else len(groups) for a in self.actions])
        by_text = torch.zeros(len(pooled), len(groups) + 1)
        by_text.index_add_(1, columns, torch.softmax(self.scores(pooled), -1))
        return (by_text[:, :-1] * self.motion_recognizer(motions, fps)).sum(-1)

    def match(self, pooled: Tensor) -> list[PromptMatch]:
        """The nearest actions of each prompt, from pooled text vectors (B, C)."""
        similarities, scores = self.similarities(pooled), self.scores(pooled)
        log_seconds = torch.tensor([action.seconds for action in self.actions]).log()
        suited = (
            torch.softmax(scores, -1) @ log_seconds
        ).exp()  # the geometric mean limits the effect of a single long clip
        far_below = -2.0 if self.check is None else self.check.threshold
        results = []
        for row, score, duration in zip(similarities, scores, suited.tolist(), strict=True):
            nearest: dict[str, tuple[KnownAction, float]] = {}
            for i in score.argsort(descending=True).tolist():
                nearest.setdefault(self.actions[i].group, (self.actions[i], float(row[i])))
                if len(nearest) == NEAREST:
                    break
            best = float(row.max())
            results.append(PromptMatch(tuple(nearest.values()), best, best < far_below, duration))
        return results

    def accuracy(self, pooled: Tensor, labels: Sequence[str]) -> float:
        """Fraction of prompts (B, C) whose best action, or its group, equals the label."""
        nearest = [self.actions[i] for i in self.scores(pooled).argmax(1).tolist()]
        return sum(label in (a.name, a.group) for a, label in zip(nearest, labels, strict=True)) / len(labels)

    def groups(self) -> dict[str, list[KnownAction]]:
        """The actions by group, both in alphabetical order."""
        ordered = sorted(self.actions, key=lambda action: (action.group, action.name))
        return {group: [a for a in ordered if a.group == group] for group in dict.fromkeys(a.group for a in ordered)}

    def save(self, path: str | Path) -> None:
        """Writes the index without adapter as one safetensors file; scalar values are in its header."""
        metadata = {
            "format": FORMAT,
            "version": str(VERSION),
            "actions": json.dumps([asdict(action) for action in self.actions]),
            "check": json.dumps(None if self.check is None else asdict(self.check)),
            "lexicon": " ".join(sorted(self.lexicon)),
            "is_adapted": json.dumps(self.adapter is not None),
        }
        tensors = {"prototypes": self.prototypes.half().contiguous()}
        if self.recognizer is not None:
            tensors |= {"recognizer.weight": self.recognizer.weight.half().contiguous()}
            tensors |= {"recognizer.bias": self.recognizer.bias.float().contiguous()}
        if self.motion_recognizer is not None:
            metadata["motion_groups"] = json.dumps(self.motion_recognizer.groups)
            tensors |= {"motion_recognizer.weight": self.motion_recognizer.weight.half().contiguous()}
            tensors |= {"motion_recognizer.bias": self.motion_recognizer.bias.float().contiguous()}
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata)

    @classmethod
    def load(cls, path: str | Path, adapter: TextAdapter | None = None) -> ActionIndex:
        """Loads an index.

        Args:
            path: path of the file.
            adapter: adapter of the index.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file is damaged, has another version or belongs to another adapter.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"Known actions not found: {path}. Create them with: hmr4d prepare text-adapter --store <store>"
            )
        try:
            with safe_open(path, "pt") as file:
                metadata, prototypes = file.metadata() or {}, file.get_tensor("prototypes")
                recognizer = motion_recognizer = None
                if "recognizer.weight" in file.keys():  # noqa: SIM118
                    recognizer = ActionRecognizer(
                        *(file.get_tensor(f"recognizer.{name}").float() for name in ("weight", "bias"))
                    )
                if "motion_groups" in metadata:
                    motion_recognizer = MotionRecognizer(
                        tuple(json.loads(metadata["motion_groups"])),
                        *(file.get_tensor(f"motion_recognizer.{name}").float() for name in ("weight", "bias")),
                    )
            if metadata.get("format") != FORMAT or metadata.get("version") != str(VERSION):
                raise ValueError(f"it is {metadata.get('format')!r} version {metadata.get('version')!r}")
            actions = [KnownAction(**fields) for fields in json.loads(metadata["actions"])]
            check = json.loads(metadata["check"])
            is_adapted, lexicon = json.loads(metadata["is_adapted"]), metadata["lexicon"].split()
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} contains no known actions of version {VERSION} ({error}). Create it again."
            ) from error
        if is_adapted != (adapter is not None) or (adapter is not None and adapter.dim != prototypes.shape[1]):
            raise ValueError(f"{path} belongs to another text adapter. Create both again.")
        check = None if check is None else FarCheck(**check)
        return cls(
            actions,
            prototypes,
            adapter=adapter,
            recognizer=recognizer,
            motion_recognizer=motion_recognizer,
            check=check,
            lexicon=lexicon,
        )


def build_action_index(
    paths: Sequence[str | Path],
    captions: LabeledCaptions,
    *,
    adapter: TextAdapter | None = None,
    recognizer: ActionRecognizer | None = None,
    motion_recognizer: MotionRecognizer | None = None,
    check: FarCheck | None = None,
    split: str | None = "train",
) -> ActionIndex:
    """Builds the index of the actions in the clips of stores.

    Args:
        paths: folders of motion stores.
        captions: their captions, from `read_captions`.
        adapter: adapter for the pooled vectors.
        recognizer: result of `fit_recognizer` for the captions.
        motion_recognizer: result of `fit_motion_recognizer` for the stores.
        check: result of `check_far`.
        split: split of the clips.
    """
    seconds: dict[tuple[str, str], list[float]] = {}
    for path in paths:
        store = MotionStore.open(path)
        labels = clip_actions(store)
        for clip in store.indices(split).tolist():
            label = labels[clip]
            if label is not None:
                seconds.setdefault(label, []).append(float(store.lengths[clip]) / store.fps)
    names, prototypes = prototypes_of(captions, adapter)
    actions = []
    for name, group in names:
        shortest, median, longest = np.percentile(seconds[name, group], (10, 50, 90)).round(2).tolist()
        actions.append(KnownAction(name, group, len(seconds[name, group]), median, shortest, longest))
    return ActionIndex(
        actions,
        prototypes,
        adapter=adapter,
        recognizer=recognizer,
        motion_recognizer=motion_recognizer,
        check=check,
        lexicon=words_of(captions.texts),
    )


def prototypes_of(
    captions: LabeledCaptions, adapter: TextAdapter | None = None
) -> tuple[list[tuple[str, str]], Tensor]:
    """(action, group) of A known actions and the mean directions (A, C) of their sentences, see `caption_votes`."""
    with torch.no_grad():
        vectors = captions.pooled if adapter is None else adapter(captions.pooled)
    names, rows = captions.numbered()
    weighted = normalize(vectors, dim=-1) * caption_votes(captions)[:, None]
    sums = torch.zeros(len(names), vectors.shape[1]).index_add_(0, rows, weighted)
    return names, normalize(sums, dim=-1)


def check_far(
    captions: LabeledCaptions,
    training: AdapterTraining | None = None,
    *,
    folds: int = 3,
    dim: int = 384,
    unknown_share: float = 1 / 6,
    known_share: float = 0.15,
    false_alarms: float = FALSE_ALARMS,
) -> FarCheck:
    """Measures the detection of unknown actions with adapters that were not trained on them.

    Each fold trains an adapter without some families of groups, whose sentences are the unknown ones, and without some
    sentences of the other families (and their near copies), which are the known ones. A family consists of the groups
    with a common first word, because excluding "walk-back" but not "walk" would not make walking unknown.

    Args:
        captions: labeled captions.
        training: training options of the adapters; each fold has its own seed.
        folds: number of folds.
        dim: width of the adapters.
        unknown_share: fraction of the families excluded in a fold.
        known_share: fraction of the sentences of the other families excluded in a fold, without near copies.
        false_alarms: allowed fraction of known sentences classified as far.

    Raises:
        ValueError: there are too few families.
    """
    training = training or AdapterTraining()
    family_of = [re.split(r"[- ]", group)[0] for group in captions.groups]
    families, generator = sorted(set(family_of)), torch.Generator().manual_seed(training.seed)
    count = max(1, round(unknown_share * len(families)))
    if len(families) < count + 2:
        raise ValueError(f"{len(families)} families of actions are too few; give captions of at least 3.")
    order = torch.randperm(len(families), generator=generator).tolist()
    scores: dict[str, list[Tensor]] = {"known": [], "unknown": []}
    for fold in range(folds):
        unknown = {families[order[(fold * count + i) % len(families)]] for i in range(count)}
        inside = [i for i, family in enumerate(family_of) if family not in unknown]
        outside = [i for i, family in enumerate(family_of) if family in unknown]
        train, held = _hold_out(captions.part(inside), known_share, generator)
        adapter = fit_text_adapter(train, replace(training, seed=training.seed + fold), dim=dim)
        _, prototypes = prototypes_of(train, adapter)
        rest = captions.part(outside)
        far = torch.multinomial(caption_votes(rest), min(len(held), len(rest)), generator=generator)
        for kind, pooled in (("known", held.pooled), ("unknown", rest.pooled[far])):
            scores[kind].append((normalize(adapter(pooled), dim=-1) @ prototypes.T).amax(1))
    return far_check(torch.cat(scores["known"]), torch.cat(scores["unknown"]), false_alarms)


def far_check(known: Tensor, unknown: Tensor, false_alarms: float = FALSE_ALARMS) -> FarCheck:
    """The operating point for similarities of known (N,) and unknown (M,) sentences."""
    threshold = float(known.quantile(false_alarms, interpolation="lower"))
    above = (known[:, None] > unknown[None]).float() + 0.5 * (known[:, None] == unknown[None]).float()
    return FarCheck(
        threshold=threshold,
        auc=float(above.mean()),
        false_alarms=float((known < threshold).float().mean()),
        caught=float((unknown < threshold).float().mean()),
    )


def _hold_out(
    captions: LabeledCaptions, share: float, generator: torch.Generator
) -> tuple[LabeledCaptions, LabeledCaptions]:
    """Splits captions into those without and those with randomly held-out sentences; near copies of the latter are
    in neither."""
    votes = caption_votes(captions)
    different = float(votes.sum() ** 2 / votes.square().sum())  # effective number of votes
    drawn = torch.multinomial(votes, max(1, round(share * different)), generator=generator)
    unit = normalize(captions.pooled, dim=-1)
    near = torch.cat([(part @ unit[drawn].T).amax(1) >= NEAR_COPY for part in unit.split(4096)])
    return captions.part(torch.nonzero(~near)[:, 0].tolist()), captions.part(sorted(drawn.tolist()))


def load_actions(folder: Path) -> ActionIndex | None:
    """The known actions in the folder of a model or of `prepare.py text-adapter`; None if there is no list.

    Raises:
        ValueError: a file is damaged.
    """
    if not (folder / FILE_NAME).is_file():
        return None
    adapter = folder / ADAPTER_NAME
    return ActionIndex.load(folder / FILE_NAME, TextAdapter.load(adapter) if adapter.is_file() else None)

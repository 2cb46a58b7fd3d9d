"""Scores of generated motion against real clips: embeddings, metrics of a protocol, and means over the repeats."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hmr4d.evaluation.cards import GENERATED, GROUND_TRUTH
from hmr4d.evaluation.preparation import (
    Encoded,
    Preparation,
    PublishedModelPreparation,
    Rows,
    StandardPreparation,
)
from hmr4d.evaluation.published_protocol import published_model_scores
from hmr4d.evaluation.text_to_motion_data import Job, RowCuts, ScoredClips
from hmr4d.evaluators.evaluator import Evaluator
from hmr4d.evaluators.feature_kinds import HML263
from hmr4d.metrics.frechet import Gaussian
from hmr4d.metrics.intervals import Value, replicate_rows
from hmr4d.metrics.physical import physical_metrics, root_speed_error, to_neutral_height
from hmr4d.metrics.text_to_motion import (
    DIVERSITY_PAIRS,
    MULTIMODALITY_PAIRS,
    POOL_SIZE,
    fid_of_halves,
    multimodality,
    text_to_motion_scores,
)
from hmr4d.motion.motion import Motion
from hmr4d.utils.progress import progress

logger = logging.getLogger(__name__)

CHUNK = 64  # items per batch of the evaluator
FEW_MOTIONS = 1000  # the card warns about the FID of a smaller set
SMALL_SET_PAIRS = 100  # diversity pairs of sets that are too small for 300


class Embeddings(NamedTuple):
    """Embeddings (N, D) of one repeat: captions, generated motions, real motions and a second real pass.

    Rows are in the order of the items.
    """

    text: Tensor
    generated: Tensor
    real: Tensor
    another: Tensor


class RepeatScores(NamedTuple):
    """Rows of one repeat (metric -> value), and notes about them."""

    generated: dict[str, float]
    ground_truth: dict[str, float]
    notes: tuple[str, ...] = ()


class ScoringProtocol(Protocol):
    """Interface of a protocol: prepares motions and computes metrics from their embeddings."""

    name: str
    has_joints3d: bool  # whether the motions also get 3D metrics

    def check(self, evaluator: Evaluator, clips: ScoredClips) -> None:
        """Raises ValueError if evaluator or clips do not match the protocol."""
        ...

    def preparation(self, evaluator: Evaluator) -> Preparation:
        """Preparation of the input of the evaluator."""
        ...

    def inputs(self, motions: Sequence[Motion], jobs: Sequence[Job], clips: ScoredClips) -> tuple[list[Tensor], float]:
        """Input of the preparation for generated motions, and its frame rate."""
        ...

    def scores(self, embeddings: Embeddings, seed: int) -> RepeatScores:
        """Both rows of one repeat."""
        ...


def one_rate(motions: Sequence[Motion]) -> float:
    """The common frame rate of all motions. Raises ValueError if the rates differ."""
    rates = {motion.fps for motion in motions}
    if len(rates) > 1:
        raise ValueError(f"Generated motions have frame rates {sorted(rates)}; resample them to one rate.")
    return rates.pop()


class JointInputs:
    """Common part of the protocols that compare 3D joints."""

    has_joints3d = True

    def inputs(self, motions: Sequence[Motion], jobs: Sequence[Job], clips: ScoredClips) -> tuple[list[Tensor], float]:
        """Joints (L, J, 3) of each motion and their frame rate."""
        return [motion.joints3d for motion in motions], one_rate(motions)


class StandardProtocol(JointInputs):
    """The protocol of the field (Guo et al., CVPR 2022): random pools of 32, and a FID against a second pass over
    the real clips."""

    name = "standard"
    cuts, features = RowCuts, HML263

    def check(self, evaluator: Evaluator, clips: ScoredClips) -> None:
        """Raises ValueError if clips and evaluator differ in features, rate or cuts."""
        if evaluator.recipe.features is not self.features or clips.store.kind != self.features.store:
            raise ValueError(
                f"Protocol '{self.name}' compares {self.features.store.about}; {clips.place} holds "
                f"{clips.store.kind.about}, and evaluator '{evaluator.recipe.name}' reads "
                f"{evaluator.recipe.features.store.about}. All three must match."
            )
        if clips.real_fps != evaluator.recipe.fps:
            raise ValueError(
                f"{clips.place} has {clips.real_fps:g} frames per second, evaluator '{evaluator.recipe.name}' was "
                f"trained at {evaluator.recipe.fps:g}. Prepare the data at that rate, or choose another evaluator."
            )
        if type(clips.cuts) is not self.cuts:
            raise ValueError(
                f"Protocol '{self.name}' cuts clips by {self.cuts.__name__}; use the clips of this protocol."
            )

    def preparation(self, evaluator: Evaluator) -> StandardPreparation:
        """Preparation with padding and units from the evaluator's recipe."""
        recipe = evaluator.recipe
        return StandardPreparation(evaluator.statistics, max_rows=recipe.max_rows, unit=recipe.unit_length)

    def scores(self, embeddings: Embeddings, seed: int) -> RepeatScores:
        """Both rows of one repeat. The row of real motion also has the FID between two random halves."""
        rng = np.random.RandomState(seed)
        order = torch.from_numpy(rng.permutation(len(embeddings.text)))
        text, reference = embeddings.text[order], Gaussian.fit(embeddings.another)
        num_pairs = DIVERSITY_PAIRS if len(order) > DIVERSITY_PAIRS else min(SMALL_SET_PAIRS, len(order))
        generated, real = (
            text_to_motion_scores(text, motion[order], reference, rng=rng, num_pairs=num_pairs)
            for motion in (embeddings.generated, embeddings.real)
        )
        halves = fid_of_halves(embeddings.real, rng=rng)
        notes = [*generated.notes, *real.notes]
        if halves.note:
            notes.append(f"Halves of the real set: {halves.note}")
        if len(order) < FEW_MOTIONS:
            notes.append(
                f"FID of {len(order)} motions is biased upwards; compare it with the FID of the halves of the real set."
            )
        if num_pairs != DIVERSITY_PAIRS:
            notes.append(f"Diversity uses {num_pairs} pairs instead of {DIVERSITY_PAIRS}, because the set is small.")
        return RepeatScores(generated.values, real.values | {"fid_halves": halves.value}, tuple(dict.fromkeys(notes)))


class PublishedModelProtocol(JointInputs):
    """The protocol behind the published table of Motion-2-to-3: whole clips, 200 rows, one shuffle."""

    name = "published_model"

    def check(self, evaluator: Evaluator, clips: ScoredClips) -> None:
        """Raises ValueError if the clips are cut into rows."""
        if isinstance(clips.cuts, RowCuts):
            raise ValueError("The published model's protocol scores whole clips; use protocol=published_model.")

    def preparation(self, evaluator: Evaluator) -> PublishedModelPreparation:
        """Linear resampling, corrected hips, 200 rows."""
        return PublishedModelPreparation(evaluator.statistics)

    def scores(self, embeddings: Embeddings, seed: int) -> RepeatScores:
        """Both rows of one repeat."""
        return RepeatScores(*published_model_scores(embeddings.text, embeddings.generated, embeddings.real, seed=seed))


@dataclass(frozen=True)
class Scored:
    """The rows of a card.

    Attributes:
        rows: "ground truth" and "generated", each metric -> value.
        set_size: motions per repeat.
        notes: remarks on the numbers.
        embeddings: embeddings of each repeat.
    """

    rows: Mapping[str, Mapping[str, Value]]
    set_size: int
    notes: tuple[str, ...]
    embeddings: tuple[Embeddings, ...]


@dataclass
class _Repeat:
    """Data collected for one repeat; `physical`: row -> physical metrics of each batch, name -> (B,) values."""

    physical: dict[str, list[dict[str, Tensor]]] = field(default_factory=lambda: {GENERATED: [], GROUND_TRUTH: []})
    text: list[Tensor] = field(default_factory=list)
    generated: list[Tensor] = field(default_factory=list)
    real: list[Tensor] = field(default_factory=list)
    another: list[Tensor] = field(default_factory=list)
    num_short: int = 0

    def embeddings(self) -> Embeddings:
        """Embeddings of all items, on the CPU."""
        columns = (self.text, self.generated, self.real, self.another)
        return Embeddings(*(torch.cat(column).cpu() for column in columns))

    def measures(self, row: str) -> dict[str, float]:
        """Mean of each physical metric over the motions for which it is defined."""
        chunks = self.physical[row]
        names = chunks[0] if chunks else ()
        return {name: float(torch.cat([chunk[name] for chunk in chunks]).double().nanmean()) for name in names}


class TextToMotionScorer:
    """Scores sets of motions, one set per repeat, against the real clips of a test.

    Args:
        evaluator: network that embeds motions and texts.
        protocol: evaluation protocol.
        clips: real clips with captions and scored excerpts.

    Raises:
        ValueError: evaluator, protocol and clips do not match, or the set is smaller than a pool of 32.
    """

    def __init__(self, evaluator: Evaluator, protocol: ScoringProtocol, clips: ScoredClips) -> None:
        protocol.check(evaluator, clips)
        _check_set(evaluator, clips)
        self.evaluator, self.protocol, self.clips = evaluator, protocol, clips
        self.preparation = protocol.preparation(evaluator)
        evaluator.use_text_cache(clips.store)

    def score(self, load: Callable[[Job], Motion]) -> Scored:
        """Both rows, averaged over the repeats.

        Args:
            load: returns the motion of a job; called for all jobs of the clips.

        Raises:
            ValueError: a motion has the wrong joints, is not finite or is too short; the message names it.
        """
        clips = self.clips
        repeats = [_Repeat() for _ in range(clips.repeats)]
        chunks = [clips.items[start : start + CHUNK] for start in range(0, len(clips.items), CHUNK)]
        for items in progress(chunks, "scoring", unit="part"):
            real = self.preparation.encode([clips.real(item) for item in items], clips.real_fps)
            for number, repeat in enumerate(repeats):
                self._add(repeat, number, items, real, load)
        embeddings = tuple(repeat.embeddings() for repeat in repeats)
        scores = [self.protocol.scores(rows, clips.seed + number) for number, rows in enumerate(embeddings)]
        generated = [s.generated | r.measures(GENERATED) for s, r in zip(scores, repeats, strict=True)]
        truth = [s.ground_truth | r.measures(GROUND_TRUTH) for s, r in zip(scores, repeats, strict=True)]
        if clips.variety.captions:
            for number, row in enumerate(generated):
                row["multimodality"] = self._multimodality(number, load)
        return Scored(
            {GROUND_TRUTH: replicate_rows(truth), GENERATED: replicate_rows(generated)},
            len(clips.items),
            tuple(dict.fromkeys([*(note for s in scores for note in s.notes), *_note_of_short(repeats)])),
            embeddings,
        )

    # --- parts --------------------------------------------------------------------------------------------------------

    def _add(
        self, repeat: _Repeat, number: int, items: Sequence[int], real: Encoded, load: Callable[[Job], Motion]
    ) -> None:
        """Adds items to a repeat; `real` are their real clips."""
        clips = self.clips
        motions = [load(Job(number, item)) for item in items]
        rows = [clips.excerpt(number, item).rows for item in items]
        again = [clips.excerpt(number, item, another=True).rows for item in items]
        texts = [m.text or clips.text(number, item) for m, item in zip(motions, items, strict=True)]
        tokens = [clips.word_tokens(number, item, text) for item, text in zip(items, texts, strict=True)]
        made, made_rows = self._encode(motions, [Job(number, item) for item in items], rows)
        repeat.num_short += sum(
            count is not None and count[1] > num_rows
            for count, num_rows in zip(made_rows, made.num_rows.tolist(), strict=True)
        )
        repeat.text.append(self.evaluator.embed_texts(texts, tokens))
        repeat.real.append(self._embed(real, rows))
        repeat.another.append(self._embed(real, again))
        repeat.generated.append(self._embed(made, made_rows))
        if not self.protocol.has_joints3d:
            return
        shown, wanted = (_padded(self.preparation.shown(e, r)) for e, r in ((made, made_rows), (real, rows)))
        fps = self.evaluator.statistics.fps
        repeat.physical[GROUND_TRUTH].append(physical_metrics(*wanted, fps))
        errors = {"root_speed_error": root_speed_error(*shown, *wanted, fps)}
        repeat.physical[GENERATED].append(physical_metrics(*shown, fps) | errors)

    def _encode(
        self, motions: Sequence[Motion], jobs: Sequence[Job], rows: Sequence[Rows | None]
    ) -> tuple[Encoded, list[Rows | None]]:
        """Features of generated motions and their scored rows: from the first row on, as many as the real clip has."""
        try:
            encoded = self.preparation.encode(*self.protocol.inputs(motions, jobs, self.clips))
        except ValueError as error:
            names = f"repeat {jobs[0].repeat}, items {jobs[0].item} to {jobs[-1].item}"
            raise ValueError(f"Generated motions of {names}, counted from 0: {error}") from error
        wanted = [None if count is None else (0, count[1]) for count in rows]
        shortest = self.evaluator.recipe.min_rows
        rows_are = "feature rows, one less than frames" if self.evaluator.recipe.features.spare_frames else "frames"
        for job, num_rows, count in zip(jobs, encoded.num_rows.tolist(), wanted, strict=True):
            least = shortest if count is None else min(shortest, count[1])
            if num_rows < least:
                raise ValueError(
                    f"The motion for '{self.clips.text(job.repeat, job.item)}' (repeat {job.repeat}, item {job.item}) "
                    f"has {num_rows} {rows_are} at {self.evaluator.recipe.fps:g} fps; evaluator "
                    f"'{self.evaluator.recipe.name}' needs {least}. Generate motions with the duration of the items."
                )
        return encoded, wanted

    def _embed(self, encoded: Encoded, rows: Sequence[Rows | None]) -> Tensor:
        features, num_rows = self.preparation.cut(encoded, rows)
        return self.evaluator.embed_motions(features, num_rows, padded_rows=self.preparation.max_rows)

    def _multimodality(self, number: int, load: Callable[[Job], Motion]) -> float:
        """Multimodality of the captions with several samples in a repeat."""
        clips, samples = self.clips, range(self.clips.variety.samples)
        embedded = []
        for item in clips.varied_items(number):
            jobs = [Job(number, item, sample) for sample in samples]
            rows = [clips.excerpt(number, item).rows] * len(jobs)
            embedded.append(self._embed(*self._encode([load(job) for job in jobs], jobs, rows)))
        pairs = min(MULTIMODALITY_PAIRS, len(samples))
        return multimodality(torch.stack(embedded), rng=np.random.RandomState(clips.seed + number), num_pairs=pairs)


def _note_of_short(repeats: Sequence[_Repeat]) -> list[str]:
    """A note if motions are shorter than requested."""
    count = sum(repeat.num_short for repeat in repeats)
    return [f"{count} generated motions are shorter than their items and were scored as they are."] if count else []


def _padded(motions: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Motions (B, L, 22, 3) scaled to the neutral body height, and their lengths; floor and position stay."""
    lengths = torch.tensor([len(motion) for motion in motions])
    return to_neutral_height(pad_sequence(list(motions), batch_first=True), lengths), lengths


def _check_set(evaluator: Evaluator, clips: ScoredClips) -> None:
    """Raises ValueError if there are too few clips, or if they are too short or lack word tokens for the evaluator."""
    recipe = evaluator.recipe
    if len(clips.items) < POOL_SIZE:
        raise ValueError(
            f"The set has {len(clips.items)} motions; R-precision ranks pools of {POOL_SIZE} and needs at least as "
            "many. Score more clips."
        )
    if clips.rules.min_seconds * clips.store.fps < recipe.min_rows:
        raise ValueError(
            f"The scored clips last at least {clips.rules.min_seconds:g} s, but evaluator '{recipe.name}' was trained "
            f"on clips of at least {recipe.min_rows / recipe.fps:g} s. Choose longer clips or another evaluator."
        )
    if recipe.text == "glove":
        if evaluator.text_input is None:
            raise ValueError(
                f"Evaluator '{recipe.name}' reads GloVe word vectors but was loaded without them; give their folder."
            )
        used = {caption for item in clips.items for caption in clips.examples[item].captions}
        if any(not clips.store.caption_tokens[caption] for caption in used):
            raise ValueError(
                f"Some captions of {clips.place} have no word/POS tokens, which evaluator '{recipe.name}' reads. "
                "Prepare the data with its tokens, or choose an evaluator without word tokens."
            )

"""Vision-language judges that decide whether a rendered clip matches its description, with retries.

A `Backend` sends one question and returns the text of the answer. `AskedJudge` adds the common parts: retries with
growing pauses, a rate limit, cached answers, and an end of questions to an unavailable service. Every failure gives the
verdict undecided with a reason; only an answer gives yes or no.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from hmr4d.reference_motion.content_cache import ContentCache, content_key
from hmr4d.reference_motion.vlm_answer import Decision, parse_answer
from hmr4d.utils.files import file_hash
from hmr4d.utils.services import PermanentFailure, TemporaryFailure

logger = logging.getLogger(__name__)

DEFAULT_SAMPLING_FPS = 5.0
_WORDING = 1  # version of `prompt_of`; raise it when the question changes, so that cached answers are not reused


@dataclass(frozen=True)
class Question:
    """The question whether a clip matches a description.

    Attributes:
        description: short description of the motion.
        video: rendered clip; None if there is none.
        name: name of the entry, for human verdicts.
        sampling_fps: images per second for the judge.
    """

    description: str
    video: Path | None
    name: str = ""
    sampling_fps: float = DEFAULT_SAMPLING_FPS


@dataclass(frozen=True)
class Verdict:
    """The result of a question.

    Attributes:
        decision: yes, no or undecided.
        analysis: explanation of the judge.
        raw: complete answer; empty without answer.
        reason: reason for undecided; empty otherwise.
        source: name of the judge.
        cached: whether the answer comes from an earlier run.
    """

    decision: Decision
    analysis: str = ""
    raw: str = ""
    reason: str = ""
    source: str = ""
    cached: bool = False


class Judge(Protocol):
    """Interface of a judge. Implementations must be thread-safe."""

    @property
    def source(self) -> str:
        """Name of the judge."""
        ...

    def verdict(self, question: Question) -> Verdict:
        """The verdict; undecided instead of an exception if there is no answer."""
        ...

    def stop(self) -> None:
        """Ends all waiting; open and later questions are undecided."""
        ...


class Backend(Protocol):
    """Interface that sends a question to a model. Implementations must be thread-safe."""

    @property
    def source(self) -> str:
        """Service and model; part of the cache key of answers."""
        ...

    def ask(self, prompt: str, question: Question) -> str:
        """The text of the answer.

        Raises:
            TemporaryFailure, PermanentFailure: there is no answer.
        """
        ...


def prompt_of(description: str) -> str:
    """The text of the question."""
    return (
        "You see a short clip of one rendered human figure on a plain background. The figure holds nothing and nothing "
        "else is in the scene. A short description of a motion follows at the end.\n"
        "Decide whether the figure does what the description says. Look at its posture, at what each arm and leg does, "
        "at the order of the movements and at how often they are repeated. Only the meaning counts: ignore the quality "
        "of the picture, the looks of the figure, small shaking and missing objects.\n"
        'Answer with one JSON object and nothing else: "analysis", one sentence on what the figure does, and '
        '"matches", true if that is the described motion and false if it is not.\n'
        f'Description: "{description}"'
    )


@dataclass(frozen=True)
class Patience:
    """Options of retries.

    Attributes:
        attempts: attempts per question.
        pause: pause before the second attempt, seconds; doubled before each further one.
        longest_pause: longest pause, seconds; longer requests of a service are not followed.
        per_minute: largest number of questions per minute; 0: no limit.
        give_up_after: number of consecutive failed questions after which no more are asked.
    """

    attempts: int = 4
    pause: float = 2.0
    longest_pause: float = 60.0
    per_minute: float = 0.0
    give_up_after: int = 3

    def __post_init__(self) -> None:
        """Raises ValueError for invalid numbers."""
        if self.attempts < 1 or self.give_up_after < 1:
            raise ValueError(f"attempts ({self.attempts}) and give_up_after ({self.give_up_after}) must be at least 1.")
        if min(self.pause, self.longest_pause, self.per_minute) < 0:
            raise ValueError("pause, longest_pause and per_minute must not be negative.")


class RateLimit:
    """Limits the rate at which threads proceed.

    Args:
        per_minute: calls per minute; 0: no limit.
        sleep, clock: functions of `time`.
    """

    def __init__(
        self,
        per_minute: float,
        *,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval = 60.0 / per_minute if per_minute > 0 else 0.0
        self._sleep, self._clock = sleep, clock
        self._lock, self._next = threading.Lock(), -float("inf")

    def wait(self) -> None:
        """Blocks until the caller may proceed."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + self._interval
        if turn > now:
            self._sleep(turn - now)


class AskedJudge:
    """A judge that asks a backend.

    Args:
        backend: backend.
        patience: options of retries.
        cache: cache of answers with yes or no.
        sleep: function that waits for seconds; None: a wait that `stop` can end.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        patience: Patience | None = None,
        cache: ContentCache | None = None,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.backend, self.patience = backend, patience or Patience()
        self.cache = cache or ContentCache(None)
        self._stopped = threading.Event()
        self._sleep = sleep or self._stopped.wait
        self._rate = RateLimit(self.patience.per_minute, sleep=self._sleep)
        self._lock, self._failed_in_row, self._given_up = threading.Lock(), 0, ""

    @property
    def source(self) -> str:
        """Source of the backend."""
        return self.backend.source

    def verdict(self, question: Question) -> Verdict:
        """See `Judge`."""
        verdict = self._verdict(question)
        return replace(verdict, source=self.source)

    def stop(self) -> None:
        """See `Judge`."""
        self._stopped.set()

    def _verdict(self, question: Question) -> Verdict:
        if question.video is None or not question.video.is_file():
            missing = "there is no rendered clip" if question.video is None else f"{question.video} does not exist"
            return Verdict(Decision.UNDECIDED, reason=f"{missing}; render the archive first")
        if not question.description.strip():
            return Verdict(Decision.UNDECIDED, reason="the entry has no description")
        prompt = prompt_of(question.description)
        key = self._key(prompt, question)
        kept = (self.cache.get(key) or {}).get("answer")
        if isinstance(kept, str):
            answer = parse_answer(kept)
            return Verdict(answer.decision, answer.analysis, kept, cached=True)
        if self._given_up:
            return Verdict(Decision.UNDECIDED, reason=f"not asked: {self._given_up}")
        verdict = self._ask(prompt, question)
        if verdict.decision is not Decision.UNDECIDED:
            record = {"source": self.source, "description": question.description, "video": question.video.name}
            self.cache.put(key, {"answer": verdict.raw, **record})
        return verdict

    def _ask(self, prompt: str, question: Question) -> Verdict:
        raw, reason, pause = "", "", self.patience.pause
        for attempt in range(self.patience.attempts):
            if attempt:
                self._sleep(min(pause, self.patience.longest_pause))
                pause *= 2
            self._rate.wait()
            if self._stopped.is_set():
                return Verdict(Decision.UNDECIDED, reason="stopped before an answer arrived")
            try:
                raw = self.backend.ask(prompt, question)
            except TemporaryFailure as failure:
                reason = str(failure)
                logger.info("%s: %s (attempt %d of %d).", question.name, reason, attempt + 1, self.patience.attempts)
                if failure.retry_after is not None:
                    if failure.retry_after > self.patience.longest_pause:
                        break
                    pause = max(pause, failure.retry_after)
                continue
            except PermanentFailure as failure:
                self._note_failure(str(failure), at_once=failure.concerns_all, counts=False)
                return Verdict(Decision.UNDECIDED, reason=str(failure))
            self._note_success()
            answer = parse_answer(raw)
            if answer.decision is not Decision.UNDECIDED:
                return Verdict(answer.decision, answer.analysis, raw)
            reason = "the answer is neither yes nor no"
        if not raw:
            self._note_failure(reason)
        return Verdict(Decision.UNDECIDED, parse_answer(raw).analysis, raw, reason)

    def _note_success(self) -> None:
        with self._lock:
            self._failed_in_row = 0

    def _note_failure(self, reason: str, *, at_once: bool = False, counts: bool = True) -> None:
        with self._lock:
            self._failed_in_row += counts
            if not self._given_up and (at_once or self._failed_in_row >= self.patience.give_up_after):
                self._given_up = reason
                logger.warning("%s is not asked again: %s. Run the command again later.", self.source, reason)

    def _key(self, prompt: str, question: Question) -> str:
        assert question.video is not None
        return content_key(_WORDING, self.source, prompt, question.sampling_fps, file_hash(question.video))

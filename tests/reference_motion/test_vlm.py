"""Judges against a service that misbehaves: undecided with a reason, never a guess, and no answer paid for twice."""

from __future__ import annotations

import base64
import json
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmr4d.reference_motion import vlm_backends
from hmr4d.reference_motion.content_cache import ContentCache
from hmr4d.reference_motion.human_verdicts import HumanJudge
from hmr4d.reference_motion.vlm import AskedJudge, Patience, Question, RateLimit
from hmr4d.reference_motion.vlm_answer import Decision
from hmr4d.reference_motion.vlm_backends import CommandBackend, GeminiBackend, OpenAIBackend, sampled_pictures
from hmr4d.visualization.video_file import write_mp4
from tests.reference_motion.vlm_server import (
    Reply,
    Service,
    answers,
    drips,
    gemini_answers,
    hangs,
    hangs_up,
    says,
    service,
)

YES, NO, UNDECIDED = Decision.YES, Decision.NO, Decision.UNDECIDED
GOOD = '{"analysis": "a figure jumps", "matches": true}'


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures at ten a second."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    pictures = (np.full((64, 64), level * 10, np.uint32) for level in range(20))
    write_mp4(path, pictures, fps=10, size=(64, 64))
    return path


class Asked:
    """A judge of a service that sleeps in no time."""

    def __init__(
        self, known: Service, cache: Path | None = None, *, send: str = "video", timeout: float = 5, **more: Any
    ):
        self.slept: list[float] = []
        backend = OpenAIBackend(known.url, "eyes", key="secret", send=send, timeout=timeout)
        self.judge = AskedJudge(backend, patience=Patience(**more), cache=ContentCache(cache), sleep=self.slept.append)

    def ask(self, clip: Path | None, description: str = "a person jumps") -> Any:
        return self.judge.verdict(Question(description, clip, "7"))


def test_openai_is_sent_the_clip_first_and_the_description_last(clip: Path) -> None:
    with service(answers(GOOD)) as known:
        verdict = Asked(known).ask(clip)
    path, headers, body = known.requests[0]
    content = body["messages"][0]["content"]
    assert (verdict.decision, verdict.analysis) == (YES, "a figure jumps")
    assert path == "/v1/chat/completions" and headers["Authorization"] == "Bearer secret"
    assert base64.b64decode(content[0]["video_url"]["url"].partition(",")[2]) == clip.read_bytes()
    assert content[-1]["text"].endswith('"a person jumps"') and body["model"] == "eyes"


def test_openai_gets_images_at_the_sampling_rate(clip: Path) -> None:
    with service(answers([{"type": "text", "text": GOOD}])) as known:
        assert Asked(known, send="pictures").ask(clip).decision is YES
    kinds = [part["type"] for part in known.requests[0][2]["messages"][0]["content"]]
    assert kinds == ["image_url"] * 10 + ["text"]  # two seconds, five pictures a second
    assert all(picture[:2] == b"\xff\xd8" for picture in sampled_pictures(clip, 1.0))


def test_gemini_gets_the_key_in_a_header_and_the_clip_inline(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "hidden")
    with service(gemini_answers(f"```json\n{GOOD}\n```")) as known:
        judge = AskedJudge(GeminiBackend(url=known.url))
        assert judge.verdict(Question("a person jumps", clip, sampling_fps=2.4)).decision is YES
    path, headers, body = known.requests[0]
    parts = body["contents"][0]["parts"]
    assert "hidden" not in path and {k.lower(): v for k, v in headers.items()}["x-goog-api-key"] == "hidden"
    assert path.endswith("/models/gemini-2.5-flash:generateContent")
    assert parts[0]["inline_data"]["mime_type"] == "video/mp4" and parts[0]["video_metadata"] == {"fps": 2}
    assert "hidden" not in judge.source


def test_gemini_without_a_key_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in vlm_backends.GEMINI_KEYS:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="GEMINI_API_KEY"):
        GeminiBackend()


def test_a_clip_that_gemini_refuses_is_undecided(clip: Path) -> None:
    with service(says('{"promptFeedback": {"blockReason": "SAFETY"}}')) as known:
        verdict = AskedJudge(GeminiBackend(key="k", url=known.url)).verdict(Question("a jump", clip))
    assert verdict.decision is UNDECIDED and "SAFETY" in verdict.reason and len(known.requests) == 1


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (says("slow down", 429), "429"),
        (says('{"error": {"message": "overloaded"}}', 500), "overloaded"),
        (says("<html>bad gateway</html>", 502), "502"),
        (says("nonsense"), "no JSON"),
        (says('{"choices": [{"mess'), "no JSON"),
        (says(b"\xff\xfe\x00", 200), "no JSON"),
        (says('{"choices": ', length=4000), "cannot be reached"),
        (hangs_up, "cannot be reached"),
        (says("[]"), "without any text"),
        (says('{"choices": {"0": 1}}'), "without any text"),
        (says('{"choices": [{"message": {"content": {"matches": true}}}]}'), "without any text"),
        (says('{"choices": [{"message": {"content": null}}]}'), "without any text"),
        (answers("I cannot see anything."), "neither yes nor no"),
        (answers('{"matches": "perhaps"}'), "neither yes nor no"),
    ],
)
def test_a_failing_service_is_tried_again_and_leaves_the_verdict_undecided(
    clip: Path, reply: Reply, reason: str
) -> None:
    with service(reply) as known:
        asked = Asked(known, attempts=3, pause=1)
        verdict = asked.ask(clip)
    assert verdict.decision is UNDECIDED and reason in verdict.reason
    assert len(known.requests) == 3 and asked.slept == [1, 2]


@pytest.mark.parametrize("slow", [hangs, drips])
def test_a_service_that_is_too_slow_is_undecided(clip: Path, slow: Any) -> None:
    released = threading.Event()
    with service(slow(released)) as known:
        verdict = Asked(known, timeout=0.15, attempts=1).ask(clip)
        released.set()
    assert verdict.decision is UNDECIDED and "no answer within 0.15 s" in verdict.reason


def test_an_answer_after_recovery_is_used(clip: Path) -> None:
    busy = says("busy", 429, {"Retry-After": "7"})
    with service(busy, says("", 503), answers("hm"), answers(GOOD)) as known:
        asked = Asked(known, pause=1)
        assert asked.ask(clip).decision is YES
    assert asked.slept[0] == 7  # what the service asked for


def test_a_service_that_asks_for_hours_is_not_waited_for(clip: Path) -> None:
    with service(says("busy", 429, {"Retry-After": "7200"})) as known:
        asked = Asked(known)
        assert asked.ask(clip).decision is UNDECIDED
    assert not asked.slept and len(known.requests) == 1


def test_a_wrong_key_ends_all_questions_at_once(clip: Path) -> None:
    with service(says('{"error": {"message": "bad key"}}', 401)) as known:
        asked = Asked(known)
        reasons = [asked.ask(clip, text).reason for text in ("a jump", "a walk")]
    assert len(known.requests) == 1 and "bad key" in reasons[0] and "not asked" in reasons[1]


def test_a_redirect_is_not_followed_so_the_key_stays(clip: Path) -> None:
    with service(answers(GOOD)) as other, service(says("", 307, {"Location": other.url})) as known:
        assert Asked(known).ask(clip).decision is UNDECIDED
    assert not other.requests


def test_a_service_that_is_down_is_given_up_after_some_questions(clip: Path) -> None:
    with service(says("", 500)) as known:
        asked = Asked(known, attempts=2, give_up_after=2)
        reasons = [asked.ask(clip, f"jump {i}").reason for i in range(4)]
    assert len(known.requests) == 4 and all("not asked" in reason for reason in reasons[2:])


def test_an_answer_is_cached_per_clip_and_description(clip: Path, tmp_path: Path) -> None:
    with service(answers(GOOD)) as known:
        assert not Asked(known, tmp_path).ask(clip).cached
        again = Asked(known, tmp_path).ask(clip)
        assert again.cached and again.decision is YES and len(known.requests) == 1
        Asked(known, tmp_path).ask(clip, "another description")
        other = tmp_path / "other.mp4"
        other.write_bytes(clip.read_bytes() + b"\0")
        Asked(known, tmp_path).ask(other)
    assert len(known.requests) == 3
    next(tmp_path.glob("*/*.json")).write_text("{half")
    with service(answers(GOOD)) as known:  # a damaged file, or another service
        assert Asked(known, tmp_path).ask(clip).decision is YES


def test_undecided_answers_are_not_cached(clip: Path, tmp_path: Path) -> None:
    with service(answers("perhaps")) as known:
        Asked(known, tmp_path, attempts=1).ask(clip)
        known.replies[:] = [answers('{"matches": false}')]
        assert Asked(known, tmp_path).ask(clip).decision is NO


def test_without_clip_or_description_no_question_is_sent(clip: Path, tmp_path: Path) -> None:
    with service(answers(GOOD)) as known:
        verdicts = [Asked(known).ask(None), Asked(known).ask(tmp_path / "no.mp4"), Asked(known).ask(clip, " ")]
    assert not known.requests and all(v.decision is UNDECIDED and v.reason for v in verdicts)


def test_a_stopped_judge_neither_waits_nor_asks_again(clip: Path) -> None:
    with service(says("busy", 429)) as known:
        judge = AskedJudge(OpenAIBackend(known.url, "m", send="video"), patience=Patience(pause=60))
        threading.Timer(0.1, judge.stop).start()
        verdict = judge.verdict(Question("a jump", clip))
    assert verdict.decision is UNDECIDED and "stopped" in verdict.reason and len(known.requests) == 1


@pytest.mark.parametrize("text", ["", "7,yes\n8,no\n", "id,verdict\n7,yes\n"])
def test_a_table_of_verdicts_without_their_columns_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "v.csv").write_text(text)
    with pytest.raises(ValueError, match=r"v\.csv begins with .*id and matches"):
        HumanJudge(tmp_path / "v.csv")


def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("sk-SEC\nRET", "“sk-SECRET”", "sk SECRET"):
        for name, make in (
            ("OPENAI_API_KEY", lambda: OpenAIBackend("http://a/v1", "m")),
            ("GEMINI_API_KEY", GeminiBackend),
        ):
            monkeypatch.setenv(name, key)
            with pytest.raises(ValueError, match=f"{name} contains") as caught:
                make()
            assert "SEC" not in str(caught.value)


def test_spaces_around_a_key_are_left_out(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " sk-1\n")
    with service(answers(GOOD)) as known:
        assert AskedJudge(OpenAIBackend(known.url, "m", send="video")).verdict(Question("a jump", clip)).decision is YES
    assert known.requests[0][1]["Authorization"] == "Bearer sk-1"


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf")])
def test_a_timeout_that_is_no_time_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        CommandBackend("true {video}", timeout=timeout)


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://localhost:99999/v1",
        "http:///v1",
        "localhost:8000",
        "ftp://a/v1",
        "http://user:key@host/v1",
        "http://host/v1?key=1",
    ],
)
def test_an_address_that_is_none_or_holds_a_key_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        OpenAIBackend(url, "m")


def test_the_rate_limit_spaces_questions_evenly() -> None:
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    limit = RateLimit(30, sleep=sleep, clock=lambda: now[0])
    for _ in range(3):
        limit.wait()
    assert slept == pytest.approx([2, 2])


def test_a_command_answers_with_what_it_prints(clip: Path, tmp_path: Path) -> None:
    script = tmp_path / "ask it.py"
    script.write_text(
        "import sys, json; print(json.dumps({'matches': sys.argv[2] == 'a {video} jump', 'analysis': sys.argv[1]}))"
    )
    judge = AskedJudge(CommandBackend(f"{sys.executable} '{script}' {{video}} {{description}}"))
    verdict = judge.verdict(Question("a {video} jump", clip))
    assert verdict.decision is YES and verdict.analysis == str(clip)


@pytest.mark.parametrize(
    ("code", "timeout", "reason"),
    [
        ("raise SystemExit('no model')", 60, "status 1: no model"),
        ("__import__('time').sleep(99)", 0.5, "no answer within"),
    ],
)
def test_a_command_that_fails_leaves_the_verdict_undecided(clip: Path, code: str, timeout: float, reason: str) -> None:
    backend = CommandBackend(f'{sys.executable} -c "{code}" {{video}}', timeout=timeout)
    verdict = AskedJudge(backend, patience=Patience(attempts=1)).verdict(Question("a jump", clip))
    assert verdict.decision is UNDECIDED and reason in verdict.reason


def test_a_missing_command_ends_all_questions(clip: Path) -> None:
    judge = AskedJudge(CommandBackend("no-such-program-here {video}"))
    reasons = [judge.verdict(Question(text, clip)).reason for text in ("a", "b")]
    assert "cannot be run" in reasons[0] and "not asked" in reasons[1]
    with pytest.raises(ValueError, match="does not receive the clip"):
        CommandBackend("ask.py")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("v.json", '{"7": "yes", "8": false, "9": "undecided"}'),
        ("v.json", '[{"id": 7, "matches": true, "analysis": "good"}, {"id": 8, "matches": "reject"}, {"id": 9}]'),
        ("v.csv", "id,matches,analysis\n7,accept,good\n8,no,\n9,,\n"),
        ("v.csv", "ID; Matches\r\n7; yes\r\n\r\n8;no\r\n9\r\n"),
        ("v.csv", "note\tmatches\tid\na,b;c\tyes\t7\n\tno\t8\n"),
    ],
)
def test_verdicts_of_people_are_read_from_a_file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    judge = HumanJudge(tmp_path / name)
    states = [judge.verdict(Question("", None, entry)).decision for entry in ("7", "8", "9", "10")]
    assert states == [YES, NO, UNDECIDED, UNDECIDED]


@pytest.mark.parametrize(
    "content", [{"7": "perhaps"}, [{"id": 7, "matches": 1}, {"id": "7", "matches": 0}], [1], "yes"]
)
def test_a_faulty_file_of_verdicts_is_refused(tmp_path: Path, content: Any) -> None:
    (tmp_path / "v.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"v\.json"):
        HumanJudge(tmp_path / "v.json")

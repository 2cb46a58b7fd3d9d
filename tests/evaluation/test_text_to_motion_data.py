"""Which stretch of which clip a score takes, with which caption and seed."""

from __future__ import annotations

import pytest
import torch

from hmr4d.data.clip_index import IndexRules
from hmr4d.data.store import MotionStore
from hmr4d.data.store_writer import Caption
from hmr4d.evaluation.text_to_motion_data import FrameCuts, Job, RowCuts, ScoredClips, Variety
from tests.data.tiny_store import FPS, write_store

FRAMES = {"short": 40, "edge": 41, "plain": 80, "longest": 200, "long": 201, "timed": 120}
RULES = IndexRules(min_seconds=2.0, max_seconds=9.95)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> MotionStore:
    captions = {
        "plain": [Caption("one", ("one/NUM",)), Caption("two", ("two/NUM",))],
        "timed": [Caption("part", ("part/NOUN",), 1.0, 3.5), Caption("too short", (), 1.0, 2.0)],
    }
    return write_store(
        tmp_path_factory.mktemp("scored") / "store", FRAMES, captions, splits=dict.fromkeys(FRAMES, "test")
    )


def test_rows_are_one_less_than_frames(store: MotionStore) -> None:
    """40 to 199 rows, as published: 41 to 200 frames; parts of clips are counted in rows."""
    clips = ScoredClips(store, cuts=RowCuts(), rules=RULES)
    found = {(store.names[e.clip], e.start, e.end) for e in clips.examples}
    assert found == {("edge", 0, 40), ("plain", 0, 79), ("longest", 0, 199), ("timed", 20, 70)}


def test_cuts_are_whole_units_inside_the_example(store: MotionStore) -> None:
    clips = ScoredClips(store, cuts=RowCuts(), rules=RULES, repeats=60)
    counts: dict[str, set[int]] = {}
    for repeat, item in clips.main_jobs():
        example, excerpt = clips.examples[item], clips.excerpt(repeat, item)
        assert excerpt.rows is not None
        first, count = excerpt.rows
        assert example.start <= first and first + count <= example.end
        assert excerpt.seconds == (count + 1) / FPS
        counts.setdefault(store.names[example.clip], set()).add(count)
    assert counts == {"edge": {36, 40}, "plain": {72, 76}, "longest": {192, 196}, "timed": {44, 48}}


def test_items_have_durations_of_the_model(store: MotionStore) -> None:
    rules = IndexRules(min_seconds=2.0, max_seconds=9.95, keep_long=True)
    clips = ScoredClips(store, cuts=RowCuts(max_seconds=4.0), rules=rules, min_seconds=2.5, repeats=3)
    assert len(clips.examples) == 5
    assert {clips[i]["seconds"] <= 4.0 and clips[i]["seconds"] >= 2.5 for i in range(len(clips))} == {True}


def test_frames_are_brought_to_the_rate_of_the_model(store: MotionStore) -> None:
    clips = ScoredClips(store, cuts=FrameCuts(fps=30.0), rules=IndexRules())
    lengths = {store.names[e.clip]: len(clips.real(i)) for i, e in enumerate(clips.examples)}
    assert lengths == {"short": 60, "edge": 61, "plain": 120, "longest": 300, "timed": 75}
    edge = next(i for i, e in enumerate(clips.examples) if store.names[e.clip] == "edge")
    assert clips.excerpt(0, edge).seconds == pytest.approx(61 / 30) and clips.excerpt(0, edge).rows is None
    assert torch.equal(clips.real(edge)[-1], torch.from_numpy(store.joints3d(store.index_of["edge"])[-1].copy()))


def test_draws_depend_on_seed_and_item_alone(store: MotionStore) -> None:
    many = ScoredClips(store, cuts=RowCuts(), rules=RULES, repeats=4, seed=5, variety=Variety(2, 3))
    later = ScoredClips(store, cuts=RowCuts(), rules=RULES, repeats=1, seed=7)
    by_job = {(r["repeat"], r["item"], r["sample"]): r for r in (many[i] for i in range(len(many)))}
    for item in range(len(later.items)):
        row = next(later[i] for i in range(len(later)) if later[i]["item"] == item)
        assert {**by_job[2, item, 0], "repeat": 0} == row
    assert len({row["seed"] for row in by_job.values()}) == len(by_job) == 4 * (len(many.items) + 2 * 2)
    assert any(many.draw(0, i) != many.draw(0, i, another=True) for i in many.items)
    assert [job.repeat for job in many.jobs] == sorted(job.repeat for job in many.jobs)


def test_a_limit_keeps_the_numbers_of_the_items(store: MotionStore) -> None:
    clips = ScoredClips(store, cuts=RowCuts(), rules=RULES, limit=2)
    assert clips.items == [0, 3]
    assert {job.item for job in clips.jobs} == {0, 3}
    clips.choose([Job(0, 3)])
    assert len(clips) == 1 and clips[0]["item"] == 3


def test_captions_of_a_clip(store: MotionStore) -> None:
    clips = ScoredClips(store, cuts=RowCuts(), rules=RULES)
    item = next(i for i, e in enumerate(clips.examples) if store.names[e.clip] == "plain")
    assert (clips.word_tokens(0, item, "one"), clips.word_tokens(0, item, "two")) == ("one/NUM", "two/NUM")
    with pytest.raises(ValueError, match=r"clip 'plain'\) has no caption 'three'"):
        clips.word_tokens(0, item, "three")


def test_external_motions_determine_the_number_of_repeats(store: MotionStore) -> None:
    clips = ScoredClips(store, cuts=RowCuts(), rules=RULES, repeats=3, variety=Variety(2, 3))
    clips.take_given(2 * len(clips.items))
    assert (clips.repeats, len(clips.jobs)) == (2, 2 * len(clips.items))
    with pytest.raises(ValueError, match="5 motions for a test of 4 items"):
        clips.take_given(5)


def test_nothing_to_score_is_an_error(store: MotionStore) -> None:
    with pytest.raises(ValueError, match="No clips to score against"):
        ScoredClips(store, cuts=RowCuts(), rules=IndexRules(min_seconds=60, max_seconds=70))
    with pytest.raises(ValueError, match="repeats is 0"):
        ScoredClips(store, cuts=RowCuts(), rules=RULES, repeats=0)

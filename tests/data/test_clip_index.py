"""From clips and captions to examples."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from hmr4d.data.clip_index import IndexRules, build_index
from hmr4d.data.store import MotionStore
from hmr4d.data.store_writer import Caption
from tests.data.tiny_store import write_store


@pytest.fixture
def store(tmp_path: Path) -> MotionStore:
    return write_store(
        tmp_path / "store",
        {"short": 39, "least": 40, "timed": 120, "long": 200, "longer": 201, "silent": 60},
        {
            "timed": [
                Caption("whole first"),
                Caption("middle", (), 1.0, 4.5),
                Caption("too short a part", (), 1.0, 2.0),
                Caption("whole second"),
                Caption("runs to the end", (), 3.0, 99.0),
            ],
            "silent": [],
        },
        splits={"long": "test"},
        labels={"least": {"content": "walk", "style": "sad"}, "timed": {"content": "run", "style": "sad"}},
    )


def told(store: MotionStore, split: str | None, rules: IndexRules) -> list[tuple]:
    texts = store.caption_texts
    return [
        (store.names[e.clip], e.start, e.end, [texts[c] for c in e.captions]) for e in build_index(store, split, rules)
    ]


def test_examples_of_a_split(store: MotionStore) -> None:
    assert told(store, "train", IndexRules()) == [
        ("least", 0, 40, ["least waves with the left hand"]),
        ("timed", 20, 90, ["middle"]),
        ("timed", 60, 120, ["runs to the end"]),
        ("timed", 0, 120, ["whole first", "whole second"]),
    ]
    assert [row[0] for row in told(store, "test", IndexRules())] == ["long"]
    assert {row[0] for row in told(store, None, IndexRules())} == {"least", "timed", "long"}


def test_what_is_skipped_is_counted(store: MotionStore, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        build_index(store, "train", IndexRules())
    for reason in ("1 too short", "1 too long", "1 no caption left", "1 timed caption of other length"):
        assert reason in caplog.text


def test_long_clips_can_stay(store: MotionStore) -> None:
    names = [row[0] for row in told(store, "train", IndexRules(keep_long=True))]
    assert "longer" in names
    assert "short" not in names


def test_captions_by_words(store: MotionStore) -> None:
    assert [row[3] for row in told(store, "train", IndexRules(required_text=("second", "middle")))] == [
        ["middle"],
        ["whole second"],
    ]
    assert [row[0] for row in told(store, "train", IndexRules(anti_text=("whole", "middle", "end")))] == ["least"]


def test_clips_by_label(store: MotionStore) -> None:
    assert {row[0] for row in told(store, "train", IndexRules(labels={"style": ["sad"]}))} == {"least", "timed"}
    rules = IndexRules(labels={"style": ["sad"]}, exclude_labels={"content": ["run"]})
    assert {row[0] for row in told(store, "train", rules)} == {"least"}


def test_unknown_split_lists_the_known(store: MotionStore) -> None:
    with pytest.raises(ValueError, match=r"no split 'dev'.*\['test', 'train'\]"):
        build_index(store, "dev", IndexRules())


@pytest.mark.parametrize("field", ["labels", "exclude_labels"])
def test_unknown_kinds_of_label_are_named(store: MotionStore, field: str) -> None:
    with pytest.raises(ValueError, match=r"\['mood'\]; motion store 'tiny' has \['content', 'style'\]"):
        build_index(store, "train", IndexRules(**{field: {"mood": ["sad"]}}))

"""Result cards and the means in them."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from hmr4d.evaluation.cards import GENERATED, GROUND_TRUTH, ResultCard
from hmr4d.metrics.intervals import Value, replicate, replicate_rows


def card() -> ResultCard:
    generated = replicate_rows([{"fid": 0.5 + 0.1 * i, "diversity": 9.0, "own": float("nan")} for i in range(3)])
    real = replicate_rows([{"fid": 0.002, "diversity": 9.5}])
    return ResultCard(
        rows={GROUND_TRUTH: real, GENERATED: generated},
        set_name="synthetic/test",
        set_size=96,
        seed=7,
        protocol="standard",
        evaluator="tiny",
        evaluator_hash="a" * 64,
        statistics_hash="b" * 64,
        checkpoint="last.ckpt",
        checkpoint_hash="c" * 64,
        command="python tools/train.py global/task=text2motion/test",
        date="2026-11-21",
        notes=("Few samples.",),
    )


def test_a_card_reads_back_equal(tmp_path: Path):
    path = card().write(tmp_path / "deep" / "folder")
    assert ResultCard.read(path) == card()
    assert path.with_suffix(".md").read_text(encoding="utf-8") == card().table()
    json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_the_table_contains_all_rows_and_metadata():
    lines = card().table().splitlines()
    header, rule, real, generated = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[:4])
    assert header == ["", "FID ↓", "Diversity", "own"]
    assert set("".join(rule)) == {"-"}
    assert real == ["ground truth", "0.002", "9.500", ""]
    assert generated == ["generated", "0.600 ± 0.092", "9.000 ± 0.000", "not defined"]
    assert len({len(line) for line in lines[:4]}) == 1
    below = "\n".join(lines[4:])
    for fact in ("synthetic/test, 96", "standard", "1 or 3 repeats", "seed: 7", "tiny, sha256 aaaa", "sha256 bbbb"):
        assert fact in below
    for fact in ("last.ckpt, sha256 cccc", "`python tools/train.py global/task=text2motion/test`", "Few samples."):
        assert fact in below


def test_a_card_without_real_motion_is_refused():
    rows = card().rows
    with pytest.raises(ValueError, match="none named 'ground truth'"):
        replace(card(), rows={GENERATED: rows[GENERATED]})
    with pytest.raises(ValueError, match="FID but its 'ground truth' row has none"):
        replace(card(), rows={**rows, GROUND_TRUTH: {"diversity": Value(9.5, None, 1)}})
    replace(card(), rows={**rows, GROUND_TRUTH: {"fid_halves": Value(0.1, None, 1)}})


def test_a_card_without_its_sources_is_refused():
    with pytest.raises(ValueError, match="lacks evaluator_hash, command;"):
        replace(card(), evaluator_hash="", command="")
    with pytest.raises(ValueError, match="lacks checkpoint_hash;"):
        replace(card(), checkpoint_hash=None)
    real = {GROUND_TRUTH: card().rows[GROUND_TRUTH]}
    assert "checkpoint: none" in replace(card(), rows=real, checkpoint=None, checkpoint_hash=None).table()


def test_damaged_files_are_named(tmp_path: Path):
    path = tmp_path / "card.json"
    with pytest.raises(FileNotFoundError, match=r"No result card .*card\.json"):
        ResultCard.read(path)
    content = card().to_json()
    for text, message in (
        ("{", "is not JSON"),
        ("[]", "contains a list"),
        ("{}", "None version None"),
        (json.dumps(content | {"version": 99}), "version 99"),
        (json.dumps({k: v for k, v in content.items() if k != "rows"}), "damaged"),
        (json.dumps(content | {"unknown": 1}), "damaged"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            ResultCard.read(path)


def test_interval_of_repeats():
    value = replicate([1.0, 2.0, 3.0, 4.0])
    assert (value.mean, value.repeats) == (2.5, 4)
    assert value.interval == pytest.approx(1.96 * math.sqrt(1.25) / 2)
    assert replicate([3.0]) == Value(3.0, None, 1)
    assert replicate([1.0, math.nan]) == Value(None, None, 2)
    with pytest.raises(ValueError, match="No repeats"):
        replicate([])
    with pytest.raises(ValueError, match=r"Repeat 1 differs from repeat 0 in \['fid'\]"):
        replicate_rows([{"fid": 1.0}, {}])
    with pytest.raises(ValueError, match="No repeats"):
        replicate_rows([])

"""The dataset of the published evaluators on clips made in the test; its draws are in tests/golden."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.evaluators.hml263_clips import EvaluationClips
from hmr4d.representation.hml263 import NUM_FEATURES, Hml263Statistics

STATISTICS = Hml263Statistics(
    name="test", mean=np.full(NUM_FEATURES, 2.0, np.float32), std=np.full(NUM_FEATURES, 4.0, np.float32)
)
WALK = "a man walks#a/DET man/NOUN walk/VERB#0.0#0.0"


def write_clip(root: Path, name: str, num_rows: int, *lines: str) -> None:
    """Features that count rows in every column, and their text file."""
    for folder in ("new_joint_vecs", "texts"):
        (root / folder).mkdir(exist_ok=True)
    rows = np.arange(num_rows, dtype=np.float32)[:, None].repeat(NUM_FEATURES, 1)
    np.save(root / "new_joint_vecs" / f"{name}.npy", rows)
    (root / "texts" / f"{name}.txt").write_text("\n".join(lines) + "\n")


def read(root: Path, *names: str, seed: int = 0) -> EvaluationClips:
    (root / "test.txt").write_text("\n".join(names) + "\n")
    return EvaluationClips(
        root, "test", statistics=STATISTICS, choices=random.Random(seed), crops=np.random.RandomState(seed)
    )


def test_rows_are_normalized_and_padded_with_zeros(tmp_path: Path) -> None:
    write_clip(tmp_path, "000001", 45, WALK)
    clips = read(tmp_path, "000001")
    seen = set()
    for _ in range(150):
        item = clips[0]
        count = item["num_rows"]
        start = item["features"][0, 0].item() * 4 + 2
        seen.add((count, start))
        torch.testing.assert_close(item["features"][:count, 5], (start + torch.arange(count) - 2) / 4)
        assert not item["features"][count:].any() and len(item["features"]) == 196
    assert seen == {(44, 0), (44, 1), *((40, start) for start in range(6))}
    assert (item["text"], item["tokens"]) == ("a man walks", "a/DET man/NOUN walk/VERB")


def test_parts_of_clips_are_separate_entries(tmp_path: Path) -> None:
    write_clip(tmp_path, "000001", 150, "part#a/DET#1.0#4.5", "too short#a/DET#0.0#1.9", "beyond#a/DET#5.0#20.0")
    clips = read(tmp_path, "000001")
    assert [(e.name[1:], e.start, e.num_rows) for e in clips.entries] == [("_000001", 100, 50), ("_000001", 20, 70)]
    assert clips.entries[0].name != clips.entries[1].name
    assert clips.dropped == {"000001": "no caption of the whole clip"}
    item = clips[1]
    assert 20 <= item["features"][0, 0].item() * 4 + 2 <= 20 + 70 - item["num_rows"]


def test_what_is_skipped_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, num_rows in (("short", 39), ("long", 200), ("kept", 199)):
        write_clip(tmp_path, name, num_rows, WALK)
    write_clip(tmp_path, "bad", 100, "a line without tags")
    write_clip(tmp_path, "parts", 100, *["part#a/DET#1.0#4.0"] * 24)
    clips = read(tmp_path, "short", "long", "kept", "bad", "absent", "parts")
    assert clips.dropped == {
        "short": "too short",
        "long": "too long",
        "bad": "cannot be read",
        "absent": "cannot be read",
        "parts": "cannot be read",
    }
    assert [e.name for e in clips.entries if e.num_rows == 199] == ["kept"]
    for words in ("'bad' cannot be read", "'absent' cannot be read", "more than 23 captions of parts"):
        assert words in caplog.text


def test_equal_seeds_give_equal_items(tmp_path: Path) -> None:
    write_clip(tmp_path, "000001", 99, WALK, "someone#someone/PRON#0.0#0.0", "part#a/DET#1.0#4.0")
    first, again, other = ([read(tmp_path, "000001", seed=s)[i % 2] for i in range(8)] for s in (3, 3, 4))
    for a, b in zip(first, again, strict=True):
        assert a["text"] == b["text"] and torch.equal(a["features"], b["features"])
    assert any(a["num_rows"] != b["num_rows"] or a["text"] != b["text"] for a, b in zip(first, other, strict=True))


def test_missing_folders_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"val.txt, .*new_joint_vecs, .*texts"):
        EvaluationClips(
            tmp_path, "val", statistics=STATISTICS, choices=random.Random(0), crops=np.random.RandomState(0)
        )


def test_empty_splits_and_other_feature_formats_are_refused(tmp_path: Path) -> None:
    write_clip(tmp_path, "000001", 10, WALK)
    with pytest.raises(ValueError, match=r"has no clip of 40 to 199 rows \(1 x too short\)"):
        read(tmp_path, "000001")
    np.save(tmp_path / "new_joint_vecs" / "000001.npy", np.zeros((50, 251)))
    with pytest.raises(ValueError, match=r"has shape \(50, 251\); expected \(rows, 263\)"):
        read(tmp_path, "000001")[0]

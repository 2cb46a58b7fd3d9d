"""The card of an evaluator: real motion, and real motion that was corrupted."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.cli.evaluator_card import main
from hmr4d.data.importers.synthetic import import_synthetic
from hmr4d.data.store import write_text_cache
from hmr4d.evaluation.cards import GROUND_TRUTH, ResultCard
from hmr4d.evaluation.evaluator_card import ANOTHER_CLIP, clips_of, corrupted, exchanged
from hmr4d.evaluation.r_precision_upper_bound import r_precision_upper_bound
from hmr4d.evaluation.text_to_motion_data import Job
from hmr4d.evaluators.corruptions import CORRUPTIONS
from hmr4d.evaluators.evaluator import Evaluator
from hmr4d.motion.procedural import synthetic_joints
from hmr4d.nn.text import HashTextEncoder, encode_numpy
from hmr4d.representation.hml263 import NUM_FEATURES, Hml263Statistics
from tests.evaluators.tiny_evaluator import RECIPE


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores") / "synthetic"
    import_synthetic(folder, num_clips=48)
    write_text_cache(folder, "hash", lambda texts: encode_numpy(HashTextEncoder(), texts))
    return folder


def test_card_has_a_row_for_every_kind_of_spoiling(store: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    mean, std = np.zeros(NUM_FEATURES, np.float32), np.ones(NUM_FEATURES, np.float32)
    statistics = Hml263Statistics(name="tiny", mean=mean, std=std, variant="corrected_hips")
    Evaluator(RECIPE, statistics).save(tmp_path / "tiny")
    words = [
        "--evaluator",
        str(tmp_path / "tiny"),
        "--store",
        str(store),
        "--split",
        "train",
        "--repeats",
        "2",
        "--corrupted-repeats",
        "1",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(words) == 0
    card = ResultCard.read(tmp_path / "out" / "card.json")
    assert list(card.rows) == [GROUND_TRUTH, *CORRUPTIONS, ANOTHER_CLIP]
    assert card.rows[GROUND_TRUTH]["fid_halves"].repeats == 2 and card.set_size == 36
    assert any("knowing content and style" in note for note in card.notes)
    frozen, unchanged = (card.rows[name]["fid"].mean for name in ("one frame held", "unchanged"))
    assert frozen is not None and unchanged is not None and frozen > unchanged


def test_bad_input_ends_in_one_sentence(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--evaluator", "gone", "--store", os.fspath(store), "--out", "out"]) == 2
    assert "No evaluator 'gone'" in capsys.readouterr().err


def test_spoiling_keeps_shape_and_does_what_it_says() -> None:
    walk = torch.from_numpy(synthetic_joints("walk", 41, np.random.default_rng(0)))
    done = {name: corrupt(walk.clone(), torch.Generator().manual_seed(0)) for name, corrupt in CORRUPTIONS.items()}
    assert all(one.shape == walk.shape and bool(one.isfinite().all()) for one in done.values())
    assert torch.equal(done["unchanged"], walk) and torch.equal(done["backwards in time"][0], walk[-1])

    def travel(joints3d: torch.Tensor) -> float:
        return float((joints3d[-1, 0] - joints3d[0, 0])[[0, 2]].norm())

    assert travel(done["path 1.5 times as long"]) == pytest.approx(1.5 * travel(walk), rel=1e-4)
    assert travel(done["half speed"]) == pytest.approx(travel(walk) / 2, rel=0.05)
    assert travel(done["one frame held"]) == 0.0
    assert (done["shaken by 20 mm"] - walk).std() == pytest.approx(0.02, rel=0.1)
    assert done["smoothed over half a second"].diff(dim=0).abs().max() < walk.diff(dim=0).abs().max()


def test_items_get_their_own_clip_or_that_of_another(store: Path) -> None:
    clips = clips_of(str(store), "train", RECIPE, repeats=1, seed=0)
    start, count = clips.excerpt(0, 3).rows  # type: ignore[misc]
    own = corrupted(clips, CORRUPTIONS["unchanged"])(Job(0, 3))
    assert torch.equal(own.joints3d, clips.real(3)[start : start + count + 1]) and own.text == clips.text(0, 3)
    load = exchanged(clips)
    given = [load(Job(0, item)).joints3d for item in clips.items]
    kept = [torch.equal(joints3d, clips.real(item)) for item, joints3d in zip(clips.items, given, strict=True)]
    assert not any(kept)
    assert sorted(float(g.sum()) for g in given) == sorted(float(clips.real(item).sum()) for item in clips.items)


def test_ceiling_counts_clips_of_equal_labels(store: Path) -> None:
    clips = clips_of(str(store), "train", RECIPE, repeats=1, seed=0)
    top = r_precision_upper_bound(clips)
    assert list(top) == ["knowing content", "knowing content and style"]
    assert top["knowing content"] == top["knowing content and style"]  # one style only
    assert 0.2 < top["knowing content"][0] < top["knowing content"][1] < top["knowing content"][2] <= 1.0


def test_real_motion_of_a_folder_of_features_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, generator = tmp_path / "features", np.random.default_rng(0)
    for folder in ("new_joint_vecs", "texts"):
        (root / folder).mkdir(parents=True)
    names = [f"{number:06d}" for number in range(40)]
    for number, name in enumerate(names):
        np.save(root / "new_joint_vecs" / f"{name}.npy", generator.normal(size=(44 + number, NUM_FEATURES)))
        (root / "texts" / f"{name}.txt").write_text(f"a person does {number}#a/DET person/NOUN#0.0#0.0\n")
    (root / "test.txt").write_text("\n".join(names) + "\n")
    mean, std = np.zeros(NUM_FEATURES, np.float32), np.ones(NUM_FEATURES, np.float32)
    Evaluator(RECIPE, Hml263Statistics(name="tiny", mean=mean, std=std, variant="corrected_hips")).save(tmp_path / "e")
    words = ["--evaluator", str(tmp_path / "e"), "--features", str(root), "--repeats", "2", "--out", str(tmp_path)]
    assert main(words) == 0
    card = ResultCard.read(tmp_path / "card.json")
    row = card.rows[GROUND_TRUTH]
    assert list(card.rows) == [GROUND_TRUTH] and card.set_size == 40 and card.set_name == "features/test"
    assert row["fid"].repeats == 2 and row["fid"].mean > 0 and row["r_precision_top_3"].mean > 0
    assert main([*words[:3], str(tmp_path), *words[4:]]) == 2
    assert "HumanML3D features not found" in capsys.readouterr().err

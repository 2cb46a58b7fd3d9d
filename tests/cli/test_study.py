"""`tools/study.py`: what each arm sees and spends, a whole small study, and what happens when one is stopped."""

import json
import math
from pathlib import Path

import pytest
import torch

from hmr4d.cli import study
from hmr4d.data.importers.synthetic import import_synthetic
from hmr4d.data.store import MotionStore, write_text_cache
from hmr4d.engine.compose import compose_config
from hmr4d.evaluation.quality_models import read_motions
from hmr4d.evaluation.study.plan import excluded, held_out, plan, subsets_of
from hmr4d.evaluation.study.report import markdown
from hmr4d.evaluation.study.scores import difference, over_seeds
from hmr4d.evaluators.evaluator import Evaluator, EvaluatorRecipe
from hmr4d.methods.motion2to3.module import Motion2to3Module
from hmr4d.nn.text import HashTextEncoder, encode_numpy
from hmr4d.representation.hml263 import load_statistics

SMALL = (
    "network=32x2",
    "text=hash",
    "data.batch_size=2",
    "data.batches_per_epoch=1",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=1",
    "~logger.tensorboard",
)


def words(inputs: Path, out: Path, *more: str) -> list[str]:
    """Overrides of a study of a few steps on synthetic motion."""
    return [
        f"paths.inputs={inputs}",
        f"output_dir={out}",
        "overrides=[" + ",".join(f'"{word}"' for word in SMALL) + "]",
        "steps.pretrain=2",
        "steps.finetune=2",
        "sampling.split=train",
        "sampling.max_seen=3",
        "sampling.steps=2",
        "scoring.classifier.epochs=1",
        "scoring.evaluator=null",
        *more,
    ]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    import_synthetic(folder / "bandai_namco", num_clips=48)
    write_text_cache(folder / "bandai_namco", "hash", lambda texts: encode_numpy(HashTextEncoder(), texts))
    return folder


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluator")
    recipe = EvaluatorRecipe(
        name="small",
        min_rows=24,
        text="tokens",
        text_encoder="hash",
        text_dim=32,
        movement_hidden=8,
        movement_dim=8,
        motion_hidden=8,
        text_hidden=8,
        embed_dim=4,
    )
    torch.manual_seed(0)
    Evaluator(recipe, load_statistics("hml263_evaluator")).save(folder)
    return folder


@pytest.fixture(scope="module")
def finished(inputs: Path, evaluator: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """Command and folder of a study that ran through."""
    folder = tmp_path_factory.mktemp("study")
    command = words(inputs, folder, "seeds=[1]", "arms=[a,c]", f"scoring.evaluator={evaluator}")
    assert study.main(command) == 0
    return command, folder


def test_arms_differ_in_what_they_see_and_spend_the_same() -> None:
    cfg = compose_config([], root="study")
    order = list(plan(cfg))
    assert [run.seed for run in order] == sorted(run.seed for run in order)
    first = {run.name: run for run in order if run.seed == 0}
    assert [*first] == ["a", "pretrain_seen", "b", "pretrain_all", "c", "b_frozen", "c_frozen", "a_short"]
    assert first["a"].steps == first["pretrain_seen"].steps + first["b"].steps
    assert first["a_short"].steps == first["b"].steps
    assert first["a"].steps == first["pretrain_all"].steps + first["c_frozen"].steps
    left_out = {"content": ["wave-both-hands", "raise-up-both-hands", "run", "dash"]}
    configs = {name: run.compose() for name, run in first.items()}
    for name, composed in configs.items():
        rules = composed.data.train.rules
        assert rules.exclude_labels == (None if name == "pretrain_all" else left_out), name
        assert composed.seed == 0 and composed.data.train.mirror_prob == 0.5
        assert composed.views.use_views == (not name.startswith("pretrain"))
        assert composed.model.freeze == ("pretrained_2d" if name.endswith("frozen") else "none")
        assert composed.motion.max_seconds == 2.4 and composed.text.name == "minilm"
    assert configs["c"].ckpt_path == str(first["pretrain_all"].checkpoint)
    assert configs["b_frozen"].ckpt_path == str(first["pretrain_seen"].checkpoint)
    assert configs["a"].ckpt_path is None


def test_another_holdout_and_no_mirrored_copies_of_it() -> None:
    cfg = compose_config(["holdout=[h1_mirror,h7_elderly]", "arms=[c,full]", "seeds=[7]"], root="study")
    assert excluded(held_out(cfg)) == {
        "content": ["walk-turn-left", "wave-left-hand", "raise-up-left-hand"],
        "style": ["elderly", "old"],
    }
    runs = list(plan(cfg))
    assert [run.name for run in runs] == ["pretrain_all", "c", "full"]
    assert all(run.compose().data.train.mirror_prob == 0 for run in runs)


def test_a_clip_of_two_groups_counts_once_among_the_unseen(inputs: Path) -> None:
    store = MotionStore.open(inputs / "bandai_namco")
    cfg = compose_config(
        ["holdout=[h3_dynamics,h2_composition]", "holdouts.h2_composition.labels.content=[run,bow]"], root="study"
    )
    clips = store.indices("train").tolist()
    found = subsets_of(store, clips, held_out(cfg))
    contents = {name: {store.labels["content"][clips[i]] for i in places} for name, places in found.items()}
    assert contents["h3_dynamics"] == {"run"} and contents["unseen"] == contents["h2_composition"] == {"run", "bow"}
    assert len(found["unseen"]) == len(found["h2_composition"]) and not contents["seen"] & contents["unseen"]
    assert len(found["seen"]) + len(found["unseen"]) == len(clips)


def test_intervals_are_over_seeds_and_of_paired_differences() -> None:
    first, second = ([{"seen": {"accuracy": v}} for v in values] for values in ([0.5, 0.7, 0.9], [0.4, 0.5, 0.6]))
    found = over_seeds(first)["seen"]["accuracy"]
    assert found["mean"] == pytest.approx(0.7) and found["values"] == [0.5, 0.7, 0.9]
    assert found["half_width"] == pytest.approx(4.302653 * 0.2 / 3**0.5)  # Student's t of two degrees of freedom
    paired = difference(first, second)["seen"]["accuracy"]
    assert paired["values"] == pytest.approx([0.1, 0.2, 0.3])
    assert paired["half_width"] == pytest.approx(4.302653 * 0.1 / 3**0.5)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["holdout=[h9]"], "holdout is"),
        (["holdout=[]"], "holdout is"),
        (["arms=[z]"], "no training 'z'"),
        (["seeds=[]"], "at least one of each"),
        (["trainings.a.sees=nothing"], "sees='nothing'"),
        (["trainings.a.steps=[lots]"], "has the unknown budgets"),
        (["holdout=[h4_direction]", "sampling.split=test"], "has no clip of unseen"),
        (["+holdouts.h2_composition.labels.mood=[sad]"], "need labels of"),
        (["--score-only"], "is not trained"),
    ],
)
def test_bad_input_ends_in_one_sentence(
    more: list[str], message: str, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.main(words(inputs, tmp_path, *more)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and message in said, said


def test_a_study_ends_with_a_card_and_again_with_the_same(
    finished: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    command, folder = finished
    card = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    table = (folder / "study.md").read_text(encoding="utf-8")
    assert table == markdown(card)
    assert card["steps"] == {"a": {"a": 4}, "c": {"pretrain_all": 2, "c": 2}}
    assert card["num_motions"] == {"seen": 3, "unseen": 8, "h2_composition": 4, "h3_dynamics": 4}
    assert set(card["rows"]) == {"real", "a", "c"} and len(card["differences"]) == 1
    accuracy = {name: row["unseen"]["accuracy"]["values"] for name, row in card["rows"].items()}
    difference = card["differences"][0]
    assert (difference["first"], difference["second"]) == ("c", "a")
    values = [c - a for c, a in zip(accuracy["c"], accuracy["a"], strict=True)]
    assert difference["subsets"]["unseen"]["accuracy"]["values"] == pytest.approx(values)
    for row in card["rows"].values():
        assert all(math.isfinite(v) and v > -1e-6 for v in row["unseen"]["fid"]["values"])  # 0 up to rounding if real
        assert row["unseen"]["r_precision_top_1"]["mean"] is None  # fewer than 32 pairs
    assert card["rows"]["real"]["unseen"]["fid"]["mean"] < card["rows"]["a"]["unseen"]["fid"]["mean"]
    assert (folder / "study.png").read_bytes().startswith(b"\x89PNG")
    # The same command again: nothing is trained, and a file of motions that got lost is drawn as it was.
    before = {p: p.stat().st_mtime_ns for p in folder.glob("seed*/*/checkpoints/last.ckpt")}
    assert len(before) == 3
    next((folder / "motions" / "seed1" / "c").glob("*.npz")).unlink()
    assert study.main(command) == 0
    assert capsys.readouterr().out == table
    assert json.loads((folder / "study.json").read_text(encoding="utf-8")) == card
    assert {p: p.stat().st_mtime_ns for p in before} == before
    # Another setting does not go on with these trainings.
    assert study.main([*command, "steps.finetune=3"]) == 2
    assert "contains a training with other settings" in capsys.readouterr().err


def test_a_stopped_study_ends_like_one_that_was_not(
    inputs: Path, finished: tuple[list[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    step = Motion2to3Module.training_step

    def fall(self: Motion2to3Module, batch: dict, batch_idx: int) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == 4:  # in the second training, after its first checkpoint
            raise SystemError("power cut")
        return step(self, batch, batch_idx)

    command = words(inputs, tmp_path, "seeds=[1]", "arms=[c]")
    with monkeypatch.context() as patch:
        patch.setattr(Motion2to3Module, "training_step", fall)
        with pytest.raises(SystemError, match="power cut"):
            study.main(command)
    assert study.main(command) == 0
    for name in ("pretrain_all", "c"):
        stopped, whole = (
            torch.load(folder / f"seed1/{name}/checkpoints/last.ckpt", weights_only=True)["state_dict"]
            for folder in (tmp_path, finished[1])
        )
        assert whole.keys() == stopped.keys() and all(torch.equal(whole[key], stopped[key]) for key in whole)
    drawn, whole = (next((folder / "motions/seed1/c").glob("*.npz")) for folder in (tmp_path, finished[1]))
    assert all(torch.equal(a, b) for a, b in zip(read_motions(drawn), read_motions(whole), strict=True))

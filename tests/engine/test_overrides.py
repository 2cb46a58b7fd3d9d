"""Overrides that the configuration cannot take: the sentence names the word, what is expected and what is nearest."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import initialize_config_dir

from hmr4d.cli.train import EXAMPLES
from hmr4d.engine.choices import choices, described
from hmr4d.engine.compose import CONFIG_FOLDER, compose_config, compose_words
from hmr4d.engine.overrides import OverrideError, by_likeness, check_output_folder, check_overrides

EXP = "exp=motion2to3/finetune_mv"


def check(*words: str, is_sweep: bool = False, folders: tuple[Path, ...] = ()) -> None:
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        check_overrides(words, "train", is_sweep=is_sweep, folders=folders)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["exp=finetune_mw"], "exp=finetune_mw: unknown experiment. Known, most similar first: "),
        ([], "No experiment is chosen. Give exp=<name>; known: "),
        (
            [EXP, "network=smal"],
            "network=smal: unknown choice of 'network'. Known, most similar first: small,",
        ),
        ([EXP, "global/append=[amp16,nope]"], "global/append=nope: unknown choice of 'global/append'."),
        ([EXP, "rigs=calibrated4"], "'rigs=calibrated4': this experiment does not use the group 'rigs'."),
        ([EXP, "trainer.max_stepz=3"], "unknown setting 'trainer.max_stepz'. Most similar: trainer.max_steps,"),
        ([EXP, "lr=1e-4"], "unknown setting 'lr'. Most similar: optimizer.lr,"),
        ([EXP, "netwrk=small"], "unknown setting 'netwrk'. Most similar: network,"),
        ([EXP, "~optimizer.lrr"], "unknown setting 'optimizer.lrr'. Most similar: optimizer.lr,"),
        ([EXP, "optimizer.lr=fast"], "optimizer.lr=fast: expected a number; the default is 0.0008."),
        ([EXP, "trainer.max_steps=abc"], "trainer.max_steps=abc: expected a number"),
        ([EXP, "trainer.use_distributed_sampler=1"], "expected true or false; the default is false."),
        ([EXP, "motion=3"], "motion=3: expected a setting below it, such as motion.fps."),
        ([EXP, "optimizer.betas=1"], "optimizer.betas=1: expected a list in [brackets]"),
        ([EXP, "data.batch_size=-4"], "data.batch_size=-4: expected at least 1."),
        ([EXP, "data.batch_size=2.5"], "data.batch_size=2.5: expected an integer."),
        ([EXP, "optimizer.lr=nan"], "optimizer.lr=nan: expected at least 0."),
        ([EXP, "model.final_lr=2"], "model.final_lr=2: expected 0 to 1."),
        ([EXP, "model.warmup_steps=-5"], "model.warmup_steps=-5: expected at least 0."),
        ([EXP, "global/task=text2motion/test", "limit=-1"], "limit=-1: expected at least 1."),
        ([EXP, "global/task=text2motion/new_text", "seconds=[2,-3]"], "seconds=-3: expected at least 0.1."),
        ([EXP, "trainer.gradient_clip_val=-1"], "trainer.gradient_clip_val=-1: expected at least 0."),
        ([EXP, "network.num_layers=0"], "network.num_layers=0: expected at least 1."),
        (
            [EXP, "+trainer.max_steps=9"],
            "'+trainer.max_steps=9': 'trainer.max_steps' exists already. Write it without +",
        ),
        (
            [EXP, "~optimizer"],
            "'~optimizer': the group 'optimizer' cannot be removed. Choose optimizer=<name>; known: ",
        ),
        ([EXP, "small"], "'small' is not an override. Write key=value"),
        ([EXP, "seed=1,2"], "'seed=1,2' has several values."),
    ],
)
def test_wrong_override_is_explained(words: list[str], message: str) -> None:
    with pytest.raises(OverrideError) as caught:
        check(*words)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        ["trainer.devices=auto", "trainer.precision=16-mixed", "+trainer.enable_progress_bar=false"],
        ["trainer.devices=[0,1]", "ckpt_path=[a,b]", "ckpt_type=pl_2d_mv", "views.cameras.elevation=null"],
        ["data.train.rules.required_text=walk", "data.batch_size=${seed}", "optimizer.lr=1", "hydra.run.dir=x"],
        [
            "global/append=[amp16,add_cb_dumper]",
            "global/task=text2motion/new_text",
            'prompts=["a, b"]',
            "seconds=[2,3]",
        ],
        ["~callbacks.ema", "callbacks.keep=null", "++trainer.anything=x", "framing.box=view"],
    ],
)
def test_good_overrides_pass(words: list[str]) -> None:
    check(EXP, *words)


def test_a_folder_of_results_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_output_folder(tmp_path / "new" / "run")
    with pytest.raises(OverrideError, match=r"output_dir=.*/file/run: .*/file is no folder that can be written to"):
        check_output_folder(tmp_path / "file" / "run")


def test_every_value_of_a_sweep_is_checked() -> None:
    check("exp=motion2to3/finetune_mv,motion2to3/pretrain_2d", "seed=1,2", "seed=range(1,4)", is_sweep=True)
    with pytest.raises(OverrideError, match="exp=nope"):
        check("exp=motion2to3/finetune_mv,nope", is_sweep=True)
    with pytest.raises(OverrideError, match="seed=two"):
        check(EXP, "seed=1,two", is_sweep=True)


def test_composing_explains_what_hydra_refuses() -> None:
    with pytest.raises(OverrideError, match=r"Most similar: optimizer\.lr"):
        compose_config([EXP, "optimizer.lrr=1"])


def test_configurations_of_additional_folders_are_choices(tmp_path: Path) -> None:
    mine = tmp_path / "exp" / "mine" / "first.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text(
        "# @package _global_\n# Mine.\ndefaults:\n  - /exp/motion2to3/finetune_mv\n  - _self_\nexp_name: first\n"
    )
    with pytest.raises(OverrideError, match="mine/first"):
        check("exp=mine/first")
    check("exp=mine/first", folders=(tmp_path,))
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        assert compose_words(["exp=mine/first"], "train", [tmp_path]).exp_name == "first"


@pytest.mark.parametrize("words", [words for _, words in EXAMPLES])
def test_examples_of_the_help_compose(words: str) -> None:
    assert compose_config([word for word in words.split() if "=" in word]).exp_name


def test_names_are_sorted_by_similarity() -> None:
    assert by_likeness("max_steps", ["seed", "trainer.max_epochs", "trainer.max_steps"])[0] == "trainer.max_steps"
    assert by_likeness("pretrain_2d", choices("exp"))[0].endswith("/pretrain_2d")


def test_every_experiment_and_task_has_a_description() -> None:
    for group in ("exp", "global/task"):
        assert [name for name, _ in described(group)] == choices(group)
        assert all(about.endswith(".") for _, about in described(group))

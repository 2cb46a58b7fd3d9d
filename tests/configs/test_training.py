"""Every experiment trains a few steps; interrupted training continues; wrong checkpoints are named."""

import csv
import json
import logging
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from hmr4d.cli.train import main
from hmr4d.data.importers.render2d import render_store
from hmr4d.data.importers.synthetic import import_synthetic
from hmr4d.data.store import write_text_cache
from hmr4d.engine.compose import compose_config
from hmr4d.engine.run import adopt_settings, build, finished_steps, prepare_predict, run
from hmr4d.export.motion_npz import load_motion_npz
from hmr4d.nn.text import HashTextEncoder, encode_numpy

ROOT = Path(__file__).resolve().parents[2]
EXPS = sorted(str(p.relative_to(ROOT / "configs/exp").with_suffix("")) for p in (ROOT / "configs/exp").rglob("*.yaml"))
STEPS_PER_EPOCH = 3
MV = "motion2to3/finetune_mv"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inputs folder: one small store under the names of three, and a tiny video set."""
    folder = tmp_path_factory.mktemp("inputs")
    import_synthetic(folder / "synthetic", num_clips=12)
    write_text_cache(folder / "synthetic", "hash", lambda texts: encode_numpy(HashTextEncoder(), texts))
    for name in ("bandai_namco", "cmu", "everyday", "humanml3d"):
        (folder / name).symlink_to(folder / "synthetic")
    rng = np.random.default_rng(0)
    entry = {
        "incam_joints": rng.normal(300, 40, (40, 22, 2)).astype(np.float32),
        "pred_scores": np.ones((40, 22), np.float32),
        "video_path": "a.mp4",
    }
    (folder / "video2d").mkdir()
    torch.save({"a": entry, "b": entry}, folder / "video2d" / "motion2d.pth")
    (folder / "video2d" / "captions.json").write_text(json.dumps({"a": "A man walks.", "b": "A man runs."}))
    render_store(folder / "synthetic", folder / "keypoints2d", views=1)
    return folder


def words(inputs: Path, out: Path, *more: str, exp: str = "motion2to3/pretrain_2d") -> list[str]:
    """Overrides that make any training small."""
    return [
        f"exp={exp}",
        "text=hash",
        "network=32x2",
        f"paths.inputs={inputs}",
        f"paths.outputs={out}",
        "trainer.accelerator=cpu",
        "+trainer.enable_progress_bar=false",
        "trainer.log_every_n_steps=1",
        "data.batch_size=2",
        f"data.batches_per_epoch={STEPS_PER_EPOCH}",
        "data.num_workers=0",
        *more,
    ]


def curve(folder: Path) -> list[dict[str, float]]:
    with (folder / "csv" / "metrics.csv").open(newline="") as stream:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(stream)]


OWN_DATA = "k2m/"  # experiments on 2D stores, which tests/methods/k2m/test_training.py trains


@pytest.mark.parametrize("exp", [e for e in EXPS if not e.endswith("_test") and not e.startswith(OWN_DATA)])
def test_experiment_trains_three_steps(exp: str, inputs: Path, tmp_path: Path) -> None:
    more = ["global/debug=fast_dev", "ckpt_path=null"]
    if not exp.endswith(("decomposition", "length")):  # these start from nothing
        more.append("model.freeze=none")
    if exp in ("motion2to3/everyday", "motion2to3/cmu"):
        more.append("pipeline.text_adapter=null")
    if exp.startswith("evaluator/published"):  # without word vectors, and for clips of any length
        more += ["evaluator=small", "motion.min_seconds=1.2"]
    if exp.startswith("evaluator/keypoints"):
        more.append(f"keypoint_store={inputs / 'keypoints2d'}")
    if (exp.startswith("evaluator/") and exp.endswith("matching")) or exp.startswith("mocap2to3/"):
        more.append("datamodule.val.split=train")  # more than one clip
    if "video" in exp and not exp.startswith("mas/"):
        more.append("data.train.sources.projected.split=train")
    elif exp.startswith("mas/") or "published" in exp or exp.endswith("_base"):
        more.append("data.train.split=train")
    cfg = compose_config(words(inputs, tmp_path, *more, exp=exp))
    run(cfg)
    losses = [row["train/loss_step"] for row in curve(Path(cfg.output_dir)) if "train/loss_step" in row]
    assert len(losses) == 3 and np.isfinite(losses).all()
    assert (Path(cfg.output_dir) / "config.yaml").is_file()


def test_a_training_logs_rate_validation_and_its_end(
    inputs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = ["trainer.max_steps=6", "trainer.check_val_every_n_epoch=1", "model.warmup_steps=3"]
    cfg = compose_config(words(inputs, tmp_path, *options, "trainer.log_every_n_steps=50"))
    with caplog.at_level(logging.INFO, "hmr4d.engine.run"):
        run(cfg)
    rows = curve(Path(cfg.output_dir))
    rates = [row["lr"] for row in rows if "train/loss_step" in row]
    assert len(rates) == 6 and rates[:3] == pytest.approx([cfg.optimizer.lr * k / 3 for k in (1, 2, 3)])
    assert len([row for row in rows if "val/loss" in row]) == 2
    assert re.search(r"Trained 6 steps: train/loss [\d.]+, val/loss [\d.]+\. Checkpoint: .*last\.ckpt", caplog.text)


def test_a_store_without_a_validation_split_can_be_trained_on(
    inputs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(
        compose_config(
            words(inputs, tmp_path, "trainer.max_steps=3", "data.val_split=none", "trainer.check_val_every_n_epoch=1")
        )
    )
    assert "There is no validation loss: Motion store 'synthetic' has no split 'none'" in caplog.text


def test_settings_changed_on_resume_are_used(inputs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def train(*more: str) -> list[dict[str, float]]:
        cfg = compose_config(words(inputs, tmp_path, "model.final_lr=1", "model.warmup_steps=2", *more))
        with caplog.at_level(logging.INFO, "hmr4d.engine.callbacks.resume"):
            run(cfg)
        return [row for row in curve(Path(cfg.output_dir)) if "train/loss_step" in row]

    train("optimizer.lr=1e-3", f"trainer.max_steps={STEPS_PER_EPOCH}")
    assert "from here on" not in caplog.text
    changed = ["resume_training=true", "optimizer.lr=1e-4", "optimizer.weight_decay=0.5", "trainer.max_steps=6"]
    rates = [row["lr"] for row in train(*changed)]
    assert rates == pytest.approx([0.5e-3, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4])
    assert "optimizer.lr is 0.0001 from here on; the checkpoint had 0.001." in caplog.text
    saved = torch.load(tmp_path / "bandai_namco/motion2to3_pretrain_2d/checkpoints/last.ckpt", weights_only=True)
    assert saved["optimizer_states"][0]["param_groups"][0]["weight_decay"] == 0.5


def test_a_longer_training_of_an_evaluator_resumes_on_its_own_cosine(inputs: Path, tmp_path: Path) -> None:
    def rates(*more: str) -> list[float]:
        cfg = compose_config(words(inputs, tmp_path, *more, exp="evaluator/decomposition"))
        run(cfg)
        return [row["lr"] for row in curve(Path(cfg.output_dir)) if "train/loss_step" in row]

    short = rates(f"trainer.max_steps={STEPS_PER_EPOCH}")
    longer = rates("trainer.max_steps=9", "resume_training=true")
    first, last = 1e-3, 2e-5
    cosine = [last + (first - last) * (1 + np.cos(np.pi * step / 9)) / 2 for step in range(9)]
    assert longer[:3] == short and longer[4:] == pytest.approx(cosine[4:])


def test_another_network_or_optimizer_cannot_resume(inputs: Path, tmp_path: Path) -> None:
    run(compose_config(words(inputs, tmp_path, "trainer.max_steps=1")))
    saved = (tmp_path / "bandai_namco/motion2to3_pretrain_2d/config.yaml").read_text()
    for change, message in (
        (
            "network.dim=64",
            r"another network: network.dim was 32 and is 64\. Resume with .*config.yaml",
        ),
        ("optimizer=adam", r"another optimizer: optimizer._target_ was torch.optim.AdamW and is"),
    ):
        with pytest.raises(ValueError, match=message):
            run(compose_config(words(inputs, tmp_path, "trainer.max_steps=2", "resume_training=true", change)))
    assert (tmp_path / "bandai_namco/motion2to3_pretrain_2d/config.yaml").read_text() == saved


def test_tasks_take_the_settings_of_their_checkpoint(inputs: Path, tmp_path: Path) -> None:
    run(compose_config(words(inputs, tmp_path, "trainer.max_steps=1", "motion.max_seconds=3.0", exp=MV)))
    checkpoint = tmp_path / "bandai_namco/motion2to3_finetune_mv/checkpoints/last.ckpt"
    task = [
        f"exp={MV}",
        "global/task=text2motion/new_text",
        f"ckpt_path={checkpoint}",
        f"paths.inputs={inputs}",
        f"output_dir={tmp_path / 'out'}",
        "trainer.accelerator=cpu",
        "prompts=[walk]",
        "seconds=2",
        "pipeline.sampling.num_inference_steps=1",
    ]
    run(compose_config(task))
    saved = OmegaConf.load(tmp_path / "out/config.yaml")
    assert (saved.network.dim, saved.text.name, saved.motion.max_seconds) == (32, "hash", 3.0)
    named = compose_config([*task, "motion.max_seconds=4.0"])
    assert adopt_settings(named, [*task, "motion.max_seconds=4.0"]) == ["network", "text"]
    assert named.motion.max_seconds == 4.0


def saved_run(folder: Path, **settings: Any) -> Path:
    """The checkpoint of a run of which only the configuration is there."""
    (folder / "checkpoints").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(settings), folder / "config.yaml")
    return folder / "checkpoints/last.ckpt"


def test_an_override_keeps_the_other_settings_of_the_checkpoint(tmp_path: Path) -> None:
    checkpoint = saved_run(tmp_path / "run", motion={"statistics": "cmu_20fps", "fps": 20.0, "max_seconds": 3.0})
    cfg = compose_config([f"exp={MV}", f"ckpt_path={checkpoint}", "motion.max_seconds=4.0"])
    assert cfg.motion.statistics != "cmu_20fps"
    assert adopt_settings(cfg, [f"exp={MV}", f"ckpt_path={checkpoint}", "motion.max_seconds=4.0"]) == ["motion"]
    assert (cfg.motion.statistics, cfg.motion.max_seconds) == ("cmu_20fps", 4.0)


def test_lifting_takes_the_range_of_its_ground_maps_from_the_checkpoint(tmp_path: Path) -> None:
    checkpoint = saved_run(tmp_path / "run", pipeline={"max_range": 12.0})
    cfg = compose_config(["exp=mocap2to3/finetune_mv_tiny", f"ckpt_path={checkpoint}"])
    assert adopt_settings(cfg) == ["pipeline.max_range"] and cfg.pipeline.max_range == 12.0


def test_a_checkpoint_with_untrusted_classes_is_refused(tmp_path: Path) -> None:
    checkpoint = saved_run(tmp_path / "run", network={"_target_": "os.system", "command": "true"})
    cfg = compose_config([f"exp={MV}", f"ckpt_path={checkpoint}"])
    with pytest.raises(ValueError, match=r"has the targets os\.system"):
        adopt_settings(cfg)


def test_killed_training_resumes_the_same_curve(inputs: Path, tmp_path: Path) -> None:
    def overrides(name: str, *more: str) -> list[str]:
        return words(inputs, tmp_path, f"output_dir={tmp_path / name}", *more)

    command = [sys.executable, str(ROOT / "tools/train.py"), *overrides("killed")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    metrics, last = tmp_path / "killed/csv/metrics.csv", tmp_path / "killed/checkpoints/last.ckpt"
    deadline = time.monotonic() + 300
    while not (last.is_file() and metrics.is_file() and len(curve(tmp_path / "killed")) > 2 * STEPS_PER_EPOCH):
        assert process.poll() is None, process.stderr.read().decode()[-2000:]  # type: ignore[union-attr]
        assert time.monotonic() < deadline, "training did not get through two epochs"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    until = finished_steps(last) + 2 * STEPS_PER_EPOCH
    run(compose_config(overrides("killed", f"trainer.max_steps={until}", "resume_training=true")))
    run(compose_config(overrides("whole", f"trainer.max_steps={until}")))
    # The average of an epoch is logged after its checkpoint is written: the kill may fall between the two.
    resumed, whole = ([r for r in curve(tmp_path / name) if "train/loss_step" in r] for name in ("killed", "whole"))
    assert len(whole) == until
    assert len(resumed) == len(whole) and [r.keys() for r in resumed] == [w.keys() for w in whole]
    for got, wanted in zip(resumed, whole, strict=True):
        assert got == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("exp", ["evaluator/decomposition", "evaluator/matching", "mocap2to3/finetune_mv_tiny"])
def test_a_training_that_validates_resumes_the_same_curve(exp: str, inputs: Path, tmp_path: Path) -> None:
    is_lifting = exp.startswith("mocap2to3/")

    def steps(name: str, until: int, *more: str) -> None:
        options = [f"output_dir={tmp_path / name}", f"trainer.max_steps={until}"]
        options.append("model.final_lr=1" if is_lifting else "model.fitting.final_lr=1")
        if is_lifting:
            options.append("datamodule.val.split=train")
        if exp.endswith("matching"):
            options += ["model.freeze=none", "datamodule.val.split=train"]
        run(compose_config(words(inputs, tmp_path, *options, *more, exp=exp)))

    steps("halves", STEPS_PER_EPOCH)
    assert finished_steps(tmp_path / "halves/checkpoints/last.ckpt") == STEPS_PER_EPOCH
    steps("halves", 2 * STEPS_PER_EPOCH, "resume_training=true")
    steps("whole", 2 * STEPS_PER_EPOCH)
    resumed, whole = ([r for r in curve(tmp_path / name) if "train/loss_step" in r] for name in ("halves", "whole"))
    assert len(whole) == 2 * STEPS_PER_EPOCH
    for got, wanted in zip(resumed, whole, strict=True):
        del got["step"], wanted["step"]  # where a run validates, Lightning numbers what it logs after a resume one up
        assert got == pytest.approx(wanted, abs=1e-5)


def test_resuming_reports_errors(inputs: Path, tmp_path: Path) -> None:
    cfg = compose_config(words(inputs, tmp_path, "resume_training=true"))
    with pytest.raises(FileNotFoundError, match="Nothing to resume"):
        run(cfg)
    damaged = Path(cfg.output_dir) / "checkpoints" / "last.ckpt"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(ValueError, match=r"last\.ckpt is not a checkpoint to resume from"):
        run(cfg)


@pytest.fixture(scope="module")
def stage1(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained single-view checkpoint."""
    out = tmp_path_factory.mktemp("stage1")
    run(compose_config(words(inputs, out, f"output_dir={out}", "trainer.max_steps=3", "callbacks=default")))
    return out / "checkpoints" / "last.ckpt"


def weights_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    return {k.removeprefix("pipeline.denoiser."): v for k, v in state.items()}


def test_one_2d_checkpoint_starts_the_views(stage1: Path, inputs: Path, tmp_path: Path) -> None:
    mv = words(inputs, tmp_path, f"ckpt_path={stage1}", "model.freeze=pretrained_2d", exp="motion2to3/finetune_mv")
    module, _, _ = build(compose_config(mv))
    state = module.pipeline.denoiser.state_dict()
    brought = weights_of(stage1)
    assert all(torch.equal(state[k], v) for k, v in brought.items())
    assert state.keys() - brought.keys()
    free = {n for n, p in module.pipeline.denoiser.named_parameters() if p.requires_grad}
    assert free == {n for n in state if n not in brought and "positions" not in n}


def test_two_checkpoints_are_merged_and_the_second_has_priority(stage1: Path, inputs: Path, tmp_path: Path) -> None:
    parts = {"first": 0.0, "second": 1.0}
    for name, value in parts.items():
        checkpoint = torch.load(stage1, weights_only=True)
        state = checkpoint["state_dict"]
        state["pipeline.denoiser.motion_head.bias"].fill_(value)
        if name == "second":
            state.pop("pipeline.denoiser.embed_text.bias")
        torch.save(checkpoint, tmp_path / f"{name}.ckpt")
    both = f"ckpt_path=[{tmp_path / 'first.ckpt'},{tmp_path / 'second.ckpt'}]"
    module, _, _ = build(compose_config(words(inputs, tmp_path, both, "ckpt_type=pl_2d_mv")))
    assert bool((module.pipeline.denoiser.motion_head.bias == 1.0).all())
    wanted = weights_of(stage1)["embed_text.bias"]
    assert torch.equal(module.pipeline.denoiser.embed_text.bias, wanted)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["ckpt_type=pl_2d_control", "ckpt_path={stage1}"], "pl_2d_control"),
        (["ckpt_type=pl_2d_mv", "ckpt_path={stage1}"], "pl_2d_mv takes 2"),
        (["ckpt_path={stage1}", "network.dim=16"], "does not fit this network"),
        (["ckpt_path={damaged}"], "no readable checkpoint"),
        (["ckpt_path=missing.ckpt"], "Checkpoint not found"),
        (["model.freeze=pretrained_2d"], "freeze untrained weights"),
        (["task=null"], "global/task="),
        (["task=sleep"], "task is 'sleep'; known: fit, predict, test"),
        (["task=test"], "Task test has no clips"),
    ],
)
def test_wrong_starts_are_named(more: list[str], message: str, stage1: Path, inputs: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(stage1.read_bytes()[:2000])
    more = [word.format(stage1=stage1, damaged=damaged) for word in more]
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run(compose_config(words(inputs, tmp_path, *more)))


def test_a_2d_checkpoint_cannot_generate_in_several_views(stage1: Path, inputs: Path, tmp_path: Path) -> None:
    more = ["global/task=text2motion/new_text", f"ckpt_path={stage1}", "prompts=[a]"]
    with pytest.raises(ValueError, match=r"last\.ckpt does not fit this network: missing embed_cam"):
        build(compose_config(words(inputs, tmp_path, *more, exp="motion2to3/finetune_mv")))


def test_a_new_run_does_not_overwrite_a_finished_one(stage1: Path, inputs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    shutil.copy(stage1, folder)
    plain = words(inputs, tmp_path, f"output_dir={tmp_path / 'run'}", "trainer.max_steps=6", "callbacks=default")
    with pytest.raises(FileExistsError, match=r"resume_training=true.*output_dir=.*overwrite=true"):
        run(compose_config(plain))
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["checkpoints"]
    run(compose_config([*plain, f"resume_model_path={folder / 'last.ckpt'}"]))
    assert finished_steps(folder / "last.ckpt") == 6
    run(compose_config([*plain, "overwrite=true", "trainer.max_steps=3"]))
    assert finished_steps(folder / "last.ckpt") == 3


def test_without_callbacks_nothing_is_saved(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cfg = compose_config(words(inputs, tmp_path, "+global/append=empty_callback", "trainer.max_steps=1"))
    run(cfg)
    assert not list(tmp_path.rglob("*.ckpt"))
    task = ["global/task=text2motion/new_text", "+global/append=empty_callback", "prompts=[a]"]
    with pytest.raises(ValueError, match="no callbacks, so nothing would be written"):
        run(compose_config(words(inputs, tmp_path, *task)))


@pytest.mark.parametrize(("given", "taken"), [("2", 1), ("auto", 1), ("[1,2]", [1]), ("[3]", [3]), ("1", 1)])
def test_generation_runs_on_one_device(given: str, taken: object, caplog: pytest.LogCaptureFixture) -> None:
    cfg = compose_config(["exp=motion2to3/finetune_mv", "global/task=text2motion/new_text", f"trainer.devices={given}"])
    with caplog.at_level(logging.WARNING):
        prepare_predict(cfg)
    assert cfg.trainer.devices == taken
    assert ("runs on one device" in caplog.text) == (given not in ("1", "[3]"))


def program(monkeypatch: pytest.MonkeyPatch, *overrides: str) -> int:
    """The exit status of tools/train.py."""
    monkeypatch.setattr(sys, "argv", ["train.py", *overrides])
    GlobalHydra.instance().clear()
    return main()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["ckpt_path=gone.ckpt"], "error: Checkpoint not found: gone.ckpt"),  # from the program itself
        (["motion.statistics=gone"], "gone"),  # from a class
        (["data.batch_size=${nowhere}"], "error: Interpolation key 'nowhere' not found"),  # from the configuration
    ],
)
def test_bad_input_ends_in_one_sentence(
    more: list[str],
    message: str,
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    assert program(monkeypatch, *words(inputs, tmp_path, *more)) == 2
    said = capfd.readouterr().err
    assert message in said and "Traceback" not in said


def test_full_errors_on_demand(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["train.py", *words(inputs, tmp_path, "ckpt_path=gone.ckpt")])
    GlobalHydra.instance().clear()
    with pytest.raises(FileNotFoundError, match=r"gone\.ckpt"):
        main()


def test_jobs_of_a_sweep_have_folders_of_their_own(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = ["seed=1,2", "trainer.max_steps=3", "--multirun"]
    monkeypatch.setattr(sys, "argv", ["train.py", *words(inputs, tmp_path, *sweep)])
    GlobalHydra.instance().clear()
    assert main() == 0
    found = sorted(p.parent.parent.name for p in (tmp_path / "sweeps").rglob("last.ckpt"))
    assert found == ["0", "1"]


def test_published_new_text_command_writes_every_motion(stage1: Path, inputs: Path, tmp_path: Path) -> None:
    prompts = [f"a person walks {n} steps" for n in range(18)]  # more than one batch
    more = [
        "global/task=motion2dmv/single_newtext_nr",
        "+global/append=add_cb_dumper",
        f"ckpt_path={stage1}",
        "views=single",
        f"prompts={prompts}",
        "prompts_file=null",
        "seconds=2",
        "export=[npz]",
        "model.pipeline.args.num_inference_steps=2",
        "model.freeze=none",
    ]
    cfg = compose_config(words(inputs, tmp_path, *more, exp="mas/video_motion2dmv_nr/mdm_test"))
    run(cfg)
    written = sorted(Path(cfg.out_dir).glob("*.npz"))
    assert len(written) == len(prompts)
    about = load_motion_npz(written[1]).metadata
    facts = (str(stage1), cfg.seed, "none")  # the license of what the checkpoint was trained on
    assert (about["model"], about["seed"], about["licence"]) == facts and about["command"]
    dumped = sorted((tmp_path / "dumped_newtext_ours").glob("*.pth"))
    assert len(dumped) == len(prompts)
    motion = torch.load(dumped[0], weights_only=True)
    assert motion["pred"].shape == (40, 22, 3) and motion["text"] == prompts[0]


def test_released_test_experiment_does_not_train() -> None:
    cfg = compose_config(["exp=mas/video_motion2dmv_nr/mdm_test"])
    assert cfg.task is None
    cfg = compose_config(["exp=mas/video_motion2dmv_nr/mdm_test", "global/task=motion2dmv/single_newtext_nr"])
    assert cfg.task == "predict"

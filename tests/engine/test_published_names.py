"""Published option and class names on the command line and in configurations."""

import importlib
import sys
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from hmr4d.cli import train
from hmr4d.engine.compose import CONFIG_FOLDER, compose_config
from hmr4d.engine.published_names import map_targets, translate_overrides
from hmr4d.methods.motion2to3.published_names import PUBLISHED
from hmr4d.methods.published_names import PublishedNameError

MV = "exp=mas/video_motion2dmv_nr/mdm"
# A value for every translated key; each of them must be one that the configuration accepts.
VALUES = {"is_lastnorm": "True", "is_hastext": "True", "is_camemb": "False", "is_2dinput": "False", "anti_text": "run"}


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("pl_trainer.devices=2", ["trainer.devices=2"]),
        ("+pl_trainer.fast_dev_run=True", ["+trainer.fast_dev_run=True"]),
        ("data.loader_opts.train.batch_size=8", ["data.batch_size=8"]),
        ("data.loader_opts.test.batch_size=8", ["data.test_batch_size=8"]),
        ("data.dataset_opts.is_cam_rel2human=True", ["framing.relative_cameras=false"]),
        ("data.dataset_opts.is_cam_rel2human=False", ["framing.relative_cameras=true"]),
        ("data.dataset_opts.required_text=walk", ["data.train.rules.required_text=[walk]"]),
        ("data.dataset_opts.required_text=[walk,run]", ["data.train.rules.required_text=[walk,run]"]),
        ("data.dataset_opts.anti_text=null", ["data.train.rules.anti_text=[]"]),
        ("model.pipeline.args.with_projection=True", ["network.text_mode=pooled"]),
        ("model.pipeline.args.is_heightnorm=True,False", ["pipeline.sampling.height=frame,none"]),
        ("model.pipeline.args.is_lastnorm=True", []),
        ("model.pipeline.args_denoisermv.latent_dim=256", ["network.dim=256"]),
        ("model.optimizer.lr=1e-5", ["optimizer.lr=1e-5"]),
        ("data=motion2dmv/HumanML3D_2dmv_nr", ["data=humanml3d"]),
        ("data=motion2dmv_test/HumanML3D_2dmv_nr", ["data=humanml3d"]),
        ("data.dataset_opts.extra_path=saved", ["score_only=saved"]),
        ("+global/append=amp16", ["global/append=amp16"]),
        ("exp=mas/video_motion2d_nr/mdm", ["exp=mas/video_motion2d_nr/mdm"]),
        ("--cfg", ["--cfg"]),
        ("ckpt_path=a=b.ckpt", ["ckpt_path=a=b.ckpt"]),
    ],
)
def test_published_words_are_translated(word: str, ours: list[str]) -> None:
    assert translate_overrides([word]) == ours


def test_sampling_steps_follow_the_schedule_unless_given() -> None:
    words = ["model.pipeline.args.num_inference_steps=10", "model.pipeline.args.diffusion_steps=50"]
    assert compose_config([MV, *words]).pipeline.sampling.num_inference_steps == 10
    cfg = compose_config([MV, words[1]])
    assert (cfg.pipeline.schedule.num_steps, cfg.pipeline.sampling.num_inference_steps) == (50, 50)


def test_all_names_without_counterpart_are_listed_with_their_reason() -> None:
    words = [
        "seed=1",
        "data.dataset_opts.root=x",
        "model.pipeline.args.endecoder_opt.a=1",
        "data=motion2dmv_test/newtext_2dmv_nr",
        "model.pipeline.args.is_hastext=False",
    ]
    with pytest.raises(PublishedNameError) as caught:
        translate_overrides(words)
    message = str(caught.value)
    assert all(word in message for word in words[1:]) and "seed=1" not in message
    assert "hmr4d prepare" in message and "single_newtext_nr" in message


def test_every_translated_key_exists() -> None:
    accepted, refused = [], []
    for key in PUBLISHED.keys:
        name = key.rpartition(".")[2]
        value = VALUES.get(name, "True" if name.startswith(("is_", "with_", "accum", "extra_root")) else "1")
        value = "[0.9,0.99]" if name == "betas" else value
        try:
            accepted += translate_overrides([f"{key}={value}"])
        except PublishedNameError:
            refused.append(name)
    scored = [word for word in accepted if word.startswith("score_only=")]  # a key of the test task alone
    compose_config([MV, *(word for word in accepted if word not in scored)])
    assert compose_config([MV, "global/task=motion2dmv/single_test2dmv_nr", *scored]).score_only == 1
    assert len(accepted) > 40
    assert set(refused) == {
        "root",
        "noise2d_scale",
        "num_visualize",
        "rng_type",
        "exp_name_base",
        "exp_name_var",
    }


def test_refused_groups_do_not_exist_as_files() -> None:
    for group, choice in PUBLISHED.groups:
        assert not (CONFIG_FOLDER / group / f"{choice}.yaml").exists()


def test_targets_are_mapped_at_any_depth() -> None:
    published = "hmr4d.utils.callbacks.dump_results.ResultDumper"
    cfg = OmegaConf.create(
        {"a": {"_target_": published, "saved_dir": "x"}, "b": [{"_target_": published}], "c": "${a}", "d": None}
    )
    mapped = map_targets(cfg)
    assert mapped.a._target_ == mapped.b[0]._target_ == mapped.c._target_ == PUBLISHED.targets[published]
    assert cfg.a._target_ == published
    for ours in PUBLISHED.targets.values():
        module, _, name = ours.rpartition(".")
        assert hasattr(importlib.import_module(module), name)


def test_target_without_counterpart_is_named_with_its_place() -> None:
    for target in ("hmr4d.utils.callbacks.vis_motion2d.Visualizer", "hmr4d.network.mas.mdm.MDM"):
        with pytest.raises(PublishedNameError, match=f"callbacks.x has the target {target}"):
            compose_config([MV, f"+callbacks.x._target_={target}"])


def test_program_stops_with_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", MV, "model.args.rng_type=const"])
    assert train.main() == 2
    assert "error: model.args.rng_type=const: noise depends" in capsys.readouterr().err


def test_several_additions_are_merged() -> None:
    words = ["+global/append=amp16", "seed=1", "+global/append=[add_cb_dumper,amp16]"]
    assert translate_overrides(words) == ["global/append=[amp16,add_cb_dumper]", "seed=1"]
    cfg = compose_config([MV, *words])
    assert cfg.trainer.precision == "16-mixed" and "result_dumper" in cfg.callbacks
    assert translate_overrides(["global/append=amp16,add_cb_dumper"]) == ["global/append=amp16,add_cb_dumper"]
    with pytest.raises(PublishedNameError, match="is a sweep"):
        translate_overrides(["global/append=amp16,add_cb_dumper", "global/append=amp16"])
    with pytest.raises(PublishedNameError, match="viewer has no counterpart"):
        translate_overrides(["global/append=[amp16,add_cb_o3d_2dto3dVisualizer]"])


def test_all_published_prompts_exist() -> None:
    cfg = compose_config(["exp=mas/video_motion2dmv_nr/mdm_test", "global/task=motion2dmv/single_newtext_nr"])
    lines = Path(cfg.prompts_file).read_text("utf-8").splitlines()
    assert (len(lines), len(set(lines))) == (49, 48)
    assert cfg.seconds * cfg.motion.fps == 150
    assert cfg.output_dir.endswith("newtext_2dmotionmv_nr/mdm-test")


def test_published_test_command() -> None:
    """The published protocol: one pass, the released weights, the published evaluator and its word vectors."""
    cfg = compose_config(["exp=mas/video_motion2dmv_nr/mdm_test", "global/task=motion2dmv/single_test2dmv_nr"])
    assert cfg.task == "test" and cfg.replications == 1 and cfg.multimodality_captions == 0
    assert cfg.output_dir.endswith("HumanML3D_2dmotionmv_nr/mdm-test")
    assert cfg.callbacks.metric.protocol._target_.endswith("PublishedModelProtocol")
    assert cfg.data.test.cuts.fps == 30.0 and cfg.data.test.rules.max_seconds == 10.0
    assert cfg.evaluation.evaluator.endswith("checkpoints/t2m") and cfg.evaluation.glove.endswith("checkpoints/glove")


def test_published_metric_class_is_understood() -> None:
    published = "hmr4d.model.mas.callbacks.metric_generation.MetricT2M"
    cfg = compose_config([MV, f"+callbacks.x._target_={published}"])
    assert cfg.callbacks.x._target_ == PUBLISHED.targets[published]
    assert instantiate(cfg.callbacks.x).protocol.name == "published_model"


def test_published_viewer_class_and_group_are_understood() -> None:
    published = "hmr4d.utils.callbacks.vis_motion2dto3d.Wis3DMotion2Dto3DVisualizer"
    cfg = compose_config([MV, f"+callbacks.x._target_={published}", "+global/append=add_cb_Wis3d_2dto3dVisualizer"])
    assert cfg.callbacks.x._target_ == cfg.callbacks.wis3d._target_ == PUBLISHED.targets[published]
    assert (cfg.callbacks.wis3d.name, cfg.callbacks.wis3d.subset) == ("ours", "vis")
    assert (cfg.callbacks.wis3d.max_len, cfg.callbacks.wis3d.max_count) == (300, 1000)


def test_published_folders() -> None:
    folders = {
        "mas/video_motion2d_nr/mdm": "HumanML3D_2dmotion_nr/mdm-new_hml3d",
        "mas/video_motion2d_nr/mdm_videofine": "HumanML3D_2dmotion_nr/mdm-new_videofine",
        "mas/video_motion2dmv_nr/mdm": "HumanML3D_2dmotionmv_ortho_nr/mdm-new_hmlfinetune",
        "mas/video_motion2dmv_nr/mdm_test": "HumanML3D_2dmotionmv_nr/mdm-test",
    }
    for exp, folder in folders.items():
        assert compose_config([f"exp={exp}"]).output_dir.endswith(f"outputs/{folder}")

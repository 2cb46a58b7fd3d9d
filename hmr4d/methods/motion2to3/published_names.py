"""Translation of option and class names of the published release of Motion-2-to-3."""

from __future__ import annotations

from collections.abc import Mapping

from hmr4d.methods.published_names import PublishedNames, Translate, as_key, as_list, only, refused, switch

_NO_2D_CONDITION = "the trainer does not support conditioning on a given 2D motion"
_PREPARED = (
    "data is prepared once with 'hmr4d prepare humanml3d --root <folder>'; "
    "another prepared folder is chosen with data.train.store=<folder>"
)
_VIEWERS = (
    "this viewer has no counterpart; use global/append=add_cb_Wis3d_2dto3dVisualizer, or open the finished motions "
    "with 'hmr4d view <folder>'"
)

_DENOISER: Mapping[str, Translate] = {
    "latent_dim": as_key("network.dim"),
    "ff_size": as_key("network.ff_dim"),
    "num_layers": as_key("network.num_layers"),
    "num_heads": as_key("network.num_heads"),
    "dropout": as_key("network.dropout"),
    "text_dim": as_key("network.text_dim"),
    "input_dim": only("44", "the width of the network follows from the statistics; choose them with motion.statistics"),
    "cam_dim": as_key("views.cam_dim"),
    "extra_root": as_key("network.separate_root_head"),
    "with_projection": switch("network.text_mode", on="pooled", off="tokens"),
    "is_2dinput": only("false", _NO_2D_CONDITION),
}
_DATASET: Mapping[str, Translate] = {
    "N_views": as_key("views.rig.num_views"),
    "is_uniform_views": as_key("views.rig.is_uniform"),
    "max_angle": as_key("views.rig.max_angle"),
    "distance": as_key("views.distance"),
    "eleva_angle": as_key("views.elevation"),
    # True means absolute camera embeddings, despite the name.
    "is_cam_rel2human": switch("framing.relative_cameras", on="false", off="true"),
    "is_pinhole": as_key("framing.is_perspective"),
    "train_fps": as_key("motion.fps"),
    "is_notext": as_key("data.train.is_notext"),
    "required_text": as_list("data.train.rules.required_text"),
    "anti_text": as_list("data.train.rules.anti_text"),
    "root": refused(_PREPARED),
    "extra_path": as_key("score_only"),
}
_PIPELINE: Mapping[str, Translate] = {
    # In the published code, the number of sampling steps equals the number of steps of the schedule.
    "diffusion_steps": as_key("pipeline.schedule.num_steps", "pipeline.sampling.num_inference_steps"),
    "num_inference_steps": as_key("pipeline.sampling.num_inference_steps"),
    "guidance_scale": as_key("pipeline.sampling.guidance_scale"),
    "with_projection": switch("network.text_mode", on="pooled", off="tokens"),
    "is_worldnoise": as_key("pipeline.sampling.world_noise"),
    "is_consisblock": as_key("pipeline.sampling.consistency"),
    "is_perspective": as_key("pipeline.sampling.is_perspective"),
    "is_heightnorm": switch("pipeline.sampling.height", on="frame", off="none"),
    "accum_global_traj": as_key("pipeline.sampling.accumulate_root"),
    "threshold_2d": as_key("pipeline.training.min_conf"),
    "is_freeze2d": switch("model.freeze", on="pretrained_2d", off="none"),
    "is_freeze_backbone": switch("model.freeze", on="backbone", off="none"),
    "is_lastnorm": only("true", "use pipeline.sampling.height=none to keep the size of the figure"),
    "is_hastext": only("true", "use data.train.is_notext=true to train without text"),
    "is_camemb": only("false", "use views.cam_dim=4 to give a single-view network its camera"),
    "is_2dinput": only("false", _NO_2D_CONDITION),
    "noise2d_scale": refused(_NO_2D_CONDITION),
    "num_visualize": refused("intermediate results are not kept; `sample_views` of the pipeline takes on_step instead"),
}

PUBLISHED = PublishedNames(
    keys={
        **{f"data.dataset_opts.{name}": rule for name, rule in _DATASET.items()},
        **{f"model.pipeline.args.{name}": rule for name, rule in _PIPELINE.items()},
        **{
            f"model.pipeline.args_{net}.{k}": rule
            for net in ("denoiser2d", "denoisermv")
            for k, rule in _DENOISER.items()
        },
        **{f"model.optimizer.{name}": as_key(f"optimizer.{name}") for name in ("lr", "weight_decay", "betas", "eps")},
        **{f"data.loader_opts.{part}.num_workers": as_key("data.num_workers") for part in ("train", "val", "test")},
        "data.loader_opts.train.batch_size": as_key("data.batch_size"),
        "data.loader_opts.val.batch_size": as_key("data.test_batch_size"),
        "data.loader_opts.test.batch_size": as_key("data.test_batch_size"),
        "data.name": as_key("data_name"),
        "model.args.seed": as_key("seed"),
        "model.args.rng_type": refused("noise depends on seed and prompt alone"),
        "exp_name_base": refused("set exp_name=<name> as a whole"),
        "exp_name_var": refused("set exp_name=<name> as a whole"),
    },
    prefixes={"pl_trainer.": "trainer."},
    groups={
        ("data", "motion2d/HumanML3D_2d_nr"): lambda _: ["data=humanml3d"],
        ("data", "motion2dmv/HumanML3D_2dmv_nr"): lambda _: ["data=humanml3d"],
        ("data", "motion2d/HumanML3D_2d_nr_walkrun"): refused(
            "choose clips by caption: data=humanml3d data.train.rules.required_text=[walk,run]"
        ),
        ("data", "motion2dmv_test/HumanML3D_2dmv_nr"): lambda _: ["data=humanml3d"],
        ("data", "motion2dmv_test/newtext_2dmv_nr"): refused("choose global/task=motion2dmv/single_newtext_nr"),
        ("model", "mas/mas_pl"): lambda _: [],  # part of the experiments
        **{
            ("global/append", name): refused(_VIEWERS)
            for name in ("add_cb_o3d_2dto3dVisualizer", "add_cb_plt_2dVisualizer")
        },
    },
    parts=(
        "data.dataset_opts.",
        "data.loader_opts.",
        "model.pipeline.args",
        "model.args.",
        "model.optimizer.",
        "callbacks.model_checkpoint.",
    ),
    # In the published code, the default number of sampling steps is the number of steps of the schedule.
    first=("model.pipeline.args.diffusion_steps",),
    targets={
        "hmr4d.utils.callbacks.dump_results.ResultDumper": "hmr4d.engine.callbacks.result_dumper.ResultDumper",
        "hmr4d.model.mas.callbacks.metric_generation.MetricT2M": "hmr4d.evaluation.callbacks.metric_t2m.MetricT2M",
        "hmr4d.utils.callbacks.vis_motion2dto3d.Wis3DMotion2Dto3DVisualizer": (
            "hmr4d.evaluation.callbacks.wis3d_visualizer.Wis3DMotion2Dto3DVisualizer"
        ),
    },
    packages=(
        "hmr4d.model.",
        "hmr4d.network.",
        "hmr4d.dataset.",
        "hmr4d.datamodule.",
        "hmr4d.utils.callbacks.",
    ),
)

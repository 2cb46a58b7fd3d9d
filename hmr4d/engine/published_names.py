"""What the method's published release calls things, and what they are called here.

`translate_overrides` works on the words of a command line, `map_targets` on a composed configuration. A published name
that has no counterpart is an error that says why; it is never ignored.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

from omegaconf import DictConfig, ListConfig

from hmr4d.engine.moved_names import current_target

TARGETS: Mapping[str, str] = {
    "hmr4d.utils.callbacks.dump_results.ResultDumper": "hmr4d.engine.callbacks.result_dumper.ResultDumper",
    "hmr4d.model.mas.callbacks.metric_generation.MetricT2M": "hmr4d.evaluation.callbacks.metric_t2m.MetricT2M",
    "hmr4d.utils.callbacks.vis_motion2dto3d.Wis3DMotion2Dto3DVisualizer": (
        "hmr4d.evaluation.callbacks.wis3d_visualizer.Wis3DMotion2Dto3DVisualizer"
    ),
}
# Packages of the published release that do not exist here; a path into them is a published name.
_PUBLISHED_PACKAGES = (
    "hmr4d.model.",
    "hmr4d.network.",
    "hmr4d.dataset.",
    "hmr4d.datamodule.",
    "hmr4d.utils.callbacks.",
)

Translate = Callable[[str], list[str]]


class PublishedNameError(ValueError):
    """A published name without a counterpart."""


def _as(*keys: str) -> Translate:
    """The value goes to other keys as it is."""
    return lambda value: [f"{key}={value}" for key in keys]


def _switch(key: str, *, on: str, off: str) -> Translate:
    """A published True or False becomes one of two values; sweeps over both work."""

    def translate(value: str) -> list[str]:
        words = {"true": on, "false": off}
        parts = [part.strip().lower() for part in value.split(",")]
        if not all(part in words for part in parts):
            raise PublishedNameError(f"'{value}' is neither True nor False")
        return [f"{key}={','.join(words[part] for part in parts)}"]

    return translate


def _only(wanted: str, reason: str) -> Translate:
    """A switch that has one position here, so that setting it says nothing; the other is refused."""

    def translate(value: str) -> list[str]:
        if value.strip().lower() != wanted:
            raise PublishedNameError(reason)
        return []

    return translate


def _texts(key: str) -> Translate:
    """One string or a list of strings becomes a list; null becomes an empty one."""

    def translate(value: str) -> list[str]:
        if value.strip().lower() in ("null", "none", ""):
            value = "[]"
        return [f"{key}={value if value.strip().startswith('[') else f'[{value}]'}"]

    return translate


def _no(reason: str) -> Translate:
    """No counterpart."""

    def refuse(value: str) -> list[str]:
        raise PublishedNameError(reason)

    return refuse


_NO_2D_CONDITION = "conditioning on a given 2D motion is not offered by the trainer"
_PREPARED = (
    "data is prepared once with 'hmr4d prepare humanml3d --root <folder>'; "
    "another prepared folder is chosen with data.train.store=<folder>"
)
_VIEWERS = (
    "this viewer has no counterpart; use global/append=add_cb_Wis3d_2dto3dVisualizer, or open the finished motions "
    "with 'hmr4d view <folder>'"
)

_DENOISER: Mapping[str, Translate] = {
    "latent_dim": _as("network.dim"),
    "ff_size": _as("network.ff_dim"),
    "num_layers": _as("network.num_layers"),
    "num_heads": _as("network.num_heads"),
    "dropout": _as("network.dropout"),
    "text_dim": _as("network.text_dim"),
    "input_dim": _as("network.num_features"),
    "cam_dim": _as("views.cam_dim"),
    "extra_root": _as("network.separate_root_head"),
    "with_projection": _switch("network.text_mode", on="pooled", off="tokens"),
    "is_2dinput": _only("false", _NO_2D_CONDITION),
}
_DATASET: Mapping[str, Translate] = {
    "N_views": _as("views.rig.num_views"),
    "is_uniform_views": _as("views.rig.is_uniform"),
    "max_angle": _as("views.rig.max_angle"),
    "distance": _as("views.distance"),
    "eleva_angle": _as("views.elevation"),
    # True means absolute camera embeddings, whatever the name says.
    "is_cam_rel2human": _switch("framing.relative_cameras", on="false", off="true"),
    "is_pinhole": _as("framing.is_perspective"),
    "train_fps": _as("motion.fps"),
    "is_notext": _as("data.train.is_notext"),
    "required_text": _texts("data.train.rules.required_text"),
    "anti_text": _texts("data.train.rules.anti_text"),
    "root": _no(_PREPARED),
    "extra_path": _as("score_only"),
}
_PIPELINE: Mapping[str, Translate] = {
    # The published number of visited steps follows the number of steps of the schedule.
    "diffusion_steps": _as("pipeline.schedule.num_steps", "pipeline.sampling.num_inference_steps"),
    "num_inference_steps": _as("pipeline.sampling.num_inference_steps"),
    "guidance_scale": _as("pipeline.sampling.guidance_scale"),
    "with_projection": _switch("network.text_mode", on="pooled", off="tokens"),
    "is_worldnoise": _as("pipeline.sampling.world_noise"),
    "is_consisblock": _as("pipeline.sampling.consistency"),
    "is_perspective": _as("pipeline.sampling.is_perspective"),
    "is_heightnorm": _switch("pipeline.sampling.height", on="frame", off="none"),
    "accum_global_traj": _as("pipeline.sampling.accumulate_root"),
    "threshold_2d": _as("pipeline.training.min_conf"),
    "is_freeze2d": _switch("model.freeze", on="pretrained_2d", off="none"),
    "is_freeze_backbone": _switch("model.freeze", on="backbone", off="none"),
    "is_lastnorm": _only("true", "use pipeline.sampling.height=none to leave the size of the figure alone"),
    "is_hastext": _only("true", "use data.train.is_notext=true to train without text"),
    "is_camemb": _only("false", "use views.cam_dim=4 to give a single-view network its camera"),
    "is_2dinput": _only("false", _NO_2D_CONDITION),
    "noise2d_scale": _no(_NO_2D_CONDITION),
    "num_visualize": _no("intermediate results are not kept; `sample_views` of the pipeline takes on_step instead"),
}

KEYS: Mapping[str, Translate] = {
    **{f"data.dataset_opts.{name}": rule for name, rule in _DATASET.items()},
    **{f"model.pipeline.args.{name}": rule for name, rule in _PIPELINE.items()},
    **{f"model.pipeline.args_{net}.{k}": rule for net in ("denoiser2d", "denoisermv") for k, rule in _DENOISER.items()},
    **{f"model.optimizer.{name}": _as(f"optimizer.{name}") for name in ("lr", "weight_decay", "betas", "eps")},
    **{f"data.loader_opts.{part}.num_workers": _as("data.num_workers") for part in ("train", "val", "test")},
    "data.loader_opts.train.batch_size": _as("data.batch_size"),
    "data.loader_opts.val.batch_size": _as("data.test_batch_size"),
    "data.loader_opts.test.batch_size": _as("data.test_batch_size"),
    "data.name": _as("data_name"),
    "model.args.seed": _as("seed"),
    "model.args.rng_type": _no("noise always depends on seed and prompt alone"),
    "exp_name_base": _no("set exp_name=<name> as a whole"),
    "exp_name_var": _no("set exp_name=<name> as a whole"),
}
PREFIXES: Mapping[str, str] = {"pl_trainer.": "trainer."}
GROUPS: Mapping[tuple[str, str], Translate] = {
    ("data", "motion2d/HumanML3D_2d_nr"): lambda _: ["data=humanml3d"],
    ("data", "motion2dmv/HumanML3D_2dmv_nr"): lambda _: ["data=humanml3d"],
    ("data", "motion2d/HumanML3D_2d_nr_walkrun"): _no(
        "choose clips by caption: data=humanml3d data.train.rules.required_text=[walk,run]"
    ),
    ("data", "motion2dmv_test/HumanML3D_2dmv_nr"): lambda _: ["data=humanml3d"],
    ("data", "motion2dmv_test/newtext_2dmv_nr"): _no("choose global/task=motion2dmv/single_newtext_nr"),
    ("model", "mas/mas_pl"): lambda _: [],  # the experiments have it
    **{("global/append", name): _no(_VIEWERS) for name in ("add_cb_o3d_2dto3dVisualizer", "add_cb_plt_2dVisualizer")},
}
_APPEND = "global/append="
# Parts of the published configuration; a key in them that no table knows is refused rather than handed to Hydra.
_PUBLISHED_PARTS = (
    "data.dataset_opts.",
    "data.loader_opts.",
    "model.pipeline.args",
    "model.args.",
    "model.optimizer.",
    "callbacks.model_checkpoint.",
)


def translate_overrides(words: Sequence[str]) -> list[str]:
    """Command-line words with published names replaced by ours; all other words stay as they are.

    Args:
        words: such as `pl_trainer.devices=2`, `exp=mas/video_motion2d_nr/mdm`, `--cfg`.

    Raises:
        PublishedNameError: some published names have no counterpart; all are listed with the reason.
    """
    translated: list[str] = []
    problems: list[str] = []
    # Schedule steps also set the number of visited ones; a word that sets those by themselves comes later and wins.
    for word in sorted(words, key=lambda word: not word.startswith("model.pipeline.args.diffusion_steps=")):
        try:
            translated += _translate_word(word)
        except PublishedNameError as error:
            problems.append(f"{word}: {error}.")
    if problems:
        raise PublishedNameError(" ".join(problems) + " See docs/published_commands.md.")
    return _merge_additions(translated)


def _merge_additions(words: list[str]) -> list[str]:
    """Several `global/append=` words as one, in place of the first; Hydra would only see the last."""
    values = [word.removeprefix(_APPEND) for word in words if word.startswith(_APPEND)]
    if len(values) < 2:
        return words
    if sweeps := [value for value in values if "," in value and not value.startswith("[")]:
        raise PublishedNameError(f"{_APPEND}{sweeps[0]} is a sweep; write names that belong together in brackets.")
    names = dict.fromkeys(name for value in values for name in _names_in(value))
    first = next(number for number, word in enumerate(words) if word.startswith(_APPEND))
    rest = [word for word in words[first:] if not word.startswith(_APPEND)]
    return [*words[:first], f"{_APPEND}[{','.join(names)}]", *rest]


def _names_in(value: str) -> list[str]:
    """The names in `a`, `[a, b]` or null."""
    names = [name.strip() for name in value.strip().removeprefix("[").removesuffix("]").split(",")]
    return [name for name in names if name not in ("", "null")]


def _translate_word(word: str) -> list[str]:
    sign = word[: len(word) - len(word.lstrip("+~"))]
    key, equals, value = word[len(sign) :].partition("=")
    if not equals or word.startswith("-"):
        return [word]
    if (key, value) in GROUPS:
        return GROUPS[key, value](value)
    if key == "global/append":
        for name in _names_in(value):
            if (key, name) in GROUPS:
                GROUPS[key, name](name)
        return [f"{key}={value}"]  # the group is in the defaults list already, where Hydra wants no plus
    if key in KEYS:
        return KEYS[key](value)
    for published, ours in PREFIXES.items():
        if key.startswith(published):
            return [f"{sign}{ours}{key.removeprefix(published)}={value}"]
    if key.startswith(_PUBLISHED_PARTS):
        raise PublishedNameError("this published option has no counterpart")
    return [word]


def map_targets(cfg: DictConfig) -> DictConfig:
    """A copy of a composed configuration in which published and earlier class paths are replaced by those of today.

    Raises:
        PublishedNameError: a published class has no counterpart; names its place in the configuration.
    """
    mapped = copy.deepcopy(cfg)
    _map_node(mapped, "")
    return mapped


def _map_node(node: DictConfig | ListConfig, place: str) -> None:
    # Raw access: interpolations are left alone, what they point to is visited in its own place.
    keys = range(len(node)) if isinstance(node, ListConfig) else list(node)
    for key in keys:
        child = node._get_node(key)
        here = f"{place}.{key}" if place else str(key)
        if isinstance(child, (DictConfig, ListConfig)):
            if not (child._is_none() or child._is_missing() or child._is_interpolation()):
                _map_node(child, here)
        elif key == "_target_":
            node[key] = _map_target(str(child._value()), place)  # type: ignore[union-attr]


def _map_target(target: str, place: str) -> str:
    if target in TARGETS:
        return TARGETS[target]
    if target.startswith(_PUBLISHED_PACKAGES):
        raise PublishedNameError(
            f"{place or 'the configuration'} asks for {target}: this published class has no counterpart."
        )
    return current_target(target)

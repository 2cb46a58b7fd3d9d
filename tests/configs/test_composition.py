"""Every configuration composes, every class in it imports and takes the arguments it is given, no file is an orphan."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from hmr4d.engine.compose import CONFIG_FOLDER, compose_config
from hmr4d.methods.registry import method_of_config

DOCS = Path(__file__).resolve().parents[2] / "docs"


def choices(group: str) -> list[str]:
    folder = CONFIG_FOLDER / group
    return sorted(str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.yaml"))


EXPS, TASKS = choices("exp"), choices("global/task")
WITH_ALL_TASKS = ("mas/video_motion2dmv_nr/mdm_test", "mocap2to3/finetune_mv_small", "motion2to3/everyday")
# Group choices beside those that the exp files make; one of each is tried on top of one exp.
EXTRA = [
    f"{group}={choice}"
    for group in ("data", "network", "views", "text", "callbacks", "global/append", "global/debug")
    for choice in choices(group)
]


def nodes(node: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping with a `_target_`, with its place."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield place, node
        for key, child in node.items():
            yield from nodes(child, f"{place}.{key}" if place else str(key))
    elif isinstance(node, list):
        for number, child in enumerate(node):
            yield from nodes(child, f"{place}.{number}")


def check_targets(cfg: DictConfig) -> None:
    """Fails with every place whose class does not import or does not take exactly the given arguments."""
    wrong = []
    for place, node in nodes(OmegaConf.to_container(cfg, resolve=True)):
        try:
            target = get_object(node["_target_"])
        except Exception as error:  # of any import
            wrong.append(f"{place}: {node['_target_']}: {error}")
            continue
        parameters = inspect.signature(target).parameters
        given = node.keys() - {"_target_", "_partial_", "_convert_", "_recursive_"}
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        if not takes_any and (unknown := given - parameters.keys()):
            wrong.append(f"{place}: {node['_target_']} takes no {sorted(unknown)}")
        needed = {n for n, p in parameters.items() if p.default is p.empty and p.kind in (0, 1, 3) and n != "self"}
        needed -= {n for n, p in parameters.items() if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        if not node.get("_partial_") and (missing := needed - given):
            wrong.append(f"{place}: {node['_target_']} needs {sorted(missing)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("exp", EXPS)
def test_exp_composes_alone_and_with_tasks_of_its_method(exp: str) -> None:
    cfg = compose_config([f"exp={exp}"])
    check_targets(cfg)
    method = method_of_config(cfg)
    able = [task for task in TASKS if method is not None and task_needs(task) in method.capabilities]
    assert method is None or method.test_task in able
    for task in able if exp in WITH_ALL_TASKS else able[:1]:
        cfg = compose_config([f"exp={exp}", f"global/task={task}"])
        assert cfg.task in ("predict", "test")
        check_targets(cfg)


def task_needs(task: str) -> str:
    """What a task says that a method must do, in its own file or in that of a task that it continues."""
    config = yaml.safe_load((CONFIG_FOLDER / "global" / "task" / f"{task}.yaml").read_text("utf-8"))
    if "task_needs" in config:
        return config["task_needs"]
    return task_needs(next(e for e in config["defaults"] if "/global/task/" in e).removeprefix("/global/task/"))


@pytest.mark.parametrize("choice", EXTRA)
def test_group_choice_composes_and_its_targets_fit(choice: str) -> None:
    check_targets(compose_config(["exp=motion2to3/finetune_mv", choice]))


@pytest.mark.parametrize(
    "group", ["data", "network", "representation", "camera_input", "rigs", "foot_contact_conditioning"]
)
def test_group_choice_of_lifting_composes_and_its_targets_fit(group: str) -> None:
    for choice in set(choices(group)) - {"video2d", "keypoints2d"}:  # which have no 3D motion
        check_targets(compose_config(["exp=mocap2to3/finetune_mv_small", f"{group}={choice}"]))


@pytest.mark.parametrize("choice", choices("observation"))
def test_observation_of_scored_lifting_composes_and_its_targets_fit(choice: str) -> None:
    task = ["exp=mocap2to3/finetune_mv_small", "global/task=lift/synthetic"]
    check_targets(compose_config([*task, f"observation={choice}"]))


def test_no_configuration_is_an_orphan() -> None:
    """A file is reached by the defaults of a root, an exp, task or debug file, the study, or the docs."""
    files = {p.relative_to(CONFIG_FOLDER).with_suffix("") for p in CONFIG_FOLDER.rglob("*.yaml")}
    names = (
        "published_commands.md",
        "motion2to3.md",
        "mocap2to3.md",
        "k2m.md",
        "ray_lifting.md",
        "evaluation.md",
        "data.md",
    )
    pages = "".join((DOCS / name).read_text("utf-8") for name in names)
    listed = {(g, c) for g, c in re.findall(r"`\+?([\w/]+)=([\w/]+)`", pages) if (CONFIG_FOLDER / g).is_dir()}
    trainings = yaml.safe_load((CONFIG_FOLDER / "study.yaml").read_text("utf-8"))["trainings"].values()
    reached = {
        Path("train"),
        Path("study"),
        Path("defaults"),
        *(Path("exp") / training["exp"] for training in trainings),
    }
    reached |= {Path(group) / choice for group, choice in listed}
    while True:
        found = {target for name in reached for target in defaults_of(name)}
        if found <= reached:
            break
        reached |= found
    assert files - reached == set()
    assert {p for p in reached if p.parts[0] != "local"} - files == set()


def defaults_of(name: Path) -> Iterator[Path]:
    """Files that the defaults list of a configuration names."""
    config = yaml.safe_load((CONFIG_FOLDER / name).with_suffix(".yaml").read_text("utf-8")) or {}
    for entry in config.get("defaults", []):
        if isinstance(entry, str):
            if entry != "_self_":
                yield Path(entry.lstrip("/")) if entry.startswith("/") else name.parent / entry
            continue
        for key, choice in entry.items():
            group = key.split()[-1].lstrip("/")
            if choice not in (None, "???") and "optional" not in key:
                yield Path(group) / choice


def test_top_level_keys_have_comments() -> None:
    lines = (CONFIG_FOLDER / "train.yaml").read_text("utf-8").splitlines()
    keys = [line for line in lines if re.match(r"[a-z_]+:", line) and not line.startswith(("defaults:", "hydra:"))]
    assert keys and all("#" in line for line in keys), [line for line in keys if "#" not in line]


def test_exp_files_have_a_description() -> None:
    for exp in EXPS:
        lines = (CONFIG_FOLDER / "exp" / f"{exp}.yaml").read_text("utf-8").splitlines()
        assert lines[0] == "# @package _global_", exp
        assert lines[1].startswith("# ") and lines[1].endswith("."), exp
        assert "  - _self_" in lines, exp


def test_published_settings() -> None:
    mv = compose_config(["exp=mas/video_motion2dmv_nr/mdm"])
    assert (mv.network.dim, mv.network.ff_dim, mv.network.num_layers, mv.network.num_heads) == (512, 1024, 8, 4)
    assert (mv.optimizer.lr, mv.data.batch_size, mv.trainer.gradient_clip_val, mv.trainer.max_epochs) == (
        1e-4,
        32,
        0.5,
        2000,
    )
    assert (mv.model.freeze, mv.pipeline.training.include_padding, mv.data.pad_frames) == ("pretrained_2d", True, 300)
    assert (mv.callbacks.keep.every_n_epochs, mv.views.rig.num_views, mv.framing.box) == (50, 4, "view")
    assert (mv.pipeline.sampling.consistency, mv.pipeline.sampling.guidance_scale) == (False, 1.0)
    single = compose_config(["exp=mas/video_motion2d_nr/mdm"])
    assert (single.pipeline.sampling.consistency, single.pipeline.sampling.accumulate_root) == (True, False)
    assert (single.callbacks.keep.every_n_epochs, single.model.freeze, single.views.cam_dim) == (20, "none", 0)
    assert single.views.cameras.elevation is None and mv.views.cameras.elevation == 5.0
    assert compose_config(["exp=mas/video_motion2d_nr/mdm_videofine"]).optimizer.lr == 1e-5

"""Checkpoints of all kinds into small networks."""

from __future__ import annotations

import json
import logging
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hmr4d.methods.motion2to3.method import METHOD
from hmr4d.methods.motion2to3.published_weights import is_published, translate, translate_key
from hmr4d.methods.motion2to3.weights import FREEZE_GROUPS, WEIGHTS
from hmr4d.nn.training import freeze_parameters
from hmr4d.utils.releases import CONFIG_NAME
from hmr4d.utils.weights import WEIGHTS_NAME
from tests.methods.motion2to3.tiny import TEXT_DIM, tiny_denoiser, tiny_pipeline

SINGLE = {"use_views": False, "cam_dim": 0, "separate_root_head": False}


def published_names(denoiser: nn.Module) -> dict[str, str]:
    """Our parameter name -> published one, written out by hand for a network of two decoder layers."""
    names = {
        "embed_motion": "input_process.poseEmbedding",
        "embed_text": "embed_text",
        "embed_cam": "embed_cam",
        "embed_condition2d": "embed_cond2d",
        "embed_step.mlp.0": "embed_timestep.time_embed.0",
        "embed_step.mlp.2": "embed_timestep.time_embed.2",
        "motion_head": "output_process.poseFinal",
        "root_head": "root_process.poseFinal",
    }
    parts = {
        "self_norm": "norm1",
        "memory_norm": "norm2",
        "feed_forward_norm": "norm3",
        "feed_forward.0": "linear1",
        "feed_forward.3": "linear2",
        "view_norm": "mv_norm",
        "view_out": "mv_linear",
        "self_attention.out": "self_attn.out_proj",
        "memory_attention.out": "multihead_attn.out_proj",
        "view_attention.out": "mv_attn.out_proj",
    }
    packed = {"self_attention": "self_attn", "memory_attention": "multihead_attn", "view_attention": "mv_attn"}
    table = {}
    for leaf in ("weight", "bias"):
        table |= {f"{own}.{leaf}": f"{theirs}.{leaf}" for own, theirs in names.items()}
        for layer in range(2):
            own_layer, their_layer = f"trunk.layers.{layer}", f"seqTransDecoder.layers.{layer}"
            table |= {f"{own_layer}.{own}.{leaf}": f"{their_layer}.{theirs}.{leaf}" for own, theirs in parts.items()}
            for own, theirs in packed.items():
                table[f"{own_layer}.{own}.qkv.{leaf}"] = f"{their_layer}.{theirs}.in_proj_{leaf}"
    return {name: table[name] for name in denoiser.state_dict()}


def published_file(denoiser: nn.Module, path: Path, owner: str) -> dict[str, Tensor]:
    """Saves a network in the published layout, with what else such a file may hold."""
    names, dim = published_names(denoiser), denoiser.positions.table.shape[1]
    prefix = f"pipeline.{owner}."
    state = {prefix + names[key]: value for key, value in denoiser.state_dict().items()}
    state |= {f"{prefix}{name}sequence_pos_encoder.pe": torch.zeros(5000, 1, dim) for name in ("", "embed_timestep.")}
    state["pipeline.clip.text_model.weight"] = torch.zeros(3)
    torch.save({"state_dict": state, "epoch": 3, "optimizer_states": [{"lr": 1e-4}]}, path)
    return state


def same(a: nn.Module, b: nn.Module) -> bool:
    theirs = b.state_dict()
    return all(torch.equal(value, theirs[key]) for key, value in a.state_dict().items())


def other(denoiser: nn.Module) -> nn.Module:
    """The same network with other weights."""
    torch.manual_seed(1)
    for parameter in denoiser.parameters():
        nn.init.normal_(parameter, std=0.1)
    return denoiser


@pytest.mark.parametrize(("owner", "changes"), [("denoiser2d", SINGLE), ("denoisermv", {})])
def test_published_checkpoint(owner: str, changes: dict, tmp_path: Path) -> None:
    source = tiny_denoiser(**changes)
    state = published_file(source, tmp_path / "published.ckpt", owner)
    assert is_published(state)
    pipeline = tiny_pipeline(other(tiny_denoiser(**changes)))
    WEIGHTS.load(pipeline, tmp_path / "published.ckpt")
    assert same(pipeline.denoiser, source)


def test_encoder_variant_has_other_norms() -> None:
    assert translate_key("seqTransEncoder.layers.0.norm2.weight") == "trunk.layers.0.feed_forward_norm.weight"
    assert translate_key("seqTransDecoder.layers.0.norm2.weight") == "trunk.layers.0.memory_norm.weight"
    assert not is_published({"pipeline.denoiser.embed_motion.weight": torch.zeros(1)})
    assert translate({"pipeline.clip.x": torch.zeros(1)}) == {}


def test_own_lightning_checkpoint(tmp_path: Path) -> None:
    source = tiny_denoiser()
    state = {f"pipeline.denoiser.{key}": value for key, value in source.state_dict().items()}
    torch.save({"state_dict": state | {"pipeline.other": torch.zeros(1)}}, tmp_path / "last.ckpt")
    pipeline = tiny_pipeline(other(tiny_denoiser()))
    WEIGHTS.load(pipeline, tmp_path / "last.ckpt")
    assert same(pipeline.denoiser, source)


@pytest.mark.parametrize("as_folder", [True, False])
def test_half_precision_release(as_folder: bool, tmp_path: Path) -> None:
    source = tiny_denoiser()
    save_file({key: value.half() for key, value in source.state_dict().items()}, tmp_path / WEIGHTS_NAME)
    pipeline = tiny_pipeline(other(tiny_denoiser()))
    WEIGHTS.load(pipeline, tmp_path if as_folder else tmp_path / WEIGHTS_NAME)
    for key, value in pipeline.denoiser.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, source.state_dict()[key].half().float())


def test_a_release_without_the_settings_of_later_versions_loads_as_before(tmp_path: Path) -> None:
    """Such a folder names its features, and neither a class of network nor options that came later."""
    written = tiny_pipeline(tiny_denoiser(), num_views=2, step="ddim")
    sizes = {"num_features": 44, "text_dim": TEXT_DIM, "dim": 16, "ff_dim": 24, "num_layers": 2, "num_heads": 2}
    network = sizes | {"dropout": 0.0, "cam_dim": 5, "use_views": True, "separate_root_head": True}
    encoder = {"name": "hash", "folder": None, "dim": TEXT_DIM}
    METHOD.save(tmp_path, written, {"network": network, "text_encoder": encoder}, {"licence": "free"})
    config = json.loads((tmp_path / CONFIG_NAME).read_text())
    for key in ("network_class", "joint_convention", "meters_per_unit"):
        del config[key]
    for key in ("spacing", "action_pull", "max_draws", "smooth", "rigid_bones", "plant_feet"):
        del config["sampling"][key]
    (tmp_path / CONFIG_NAME).write_text(json.dumps(config))
    loaded = METHOD.load(tmp_path)
    WEIGHTS.load(written, tmp_path)  # rounded to half precision
    request = {"texts": ["a walk"], "seconds": 1.5, "seed": 3}
    assert torch.equal(loaded.sample(**request).joints3d, written.sample(**request).joints3d)


def test_single_view_checkpoint_starts_several_views(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = tiny_denoiser(**SINGLE)
    published_file(source, tmp_path / "2d.ckpt", "denoiser2d")
    pipeline = tiny_pipeline(other(tiny_denoiser()))
    before = {key: value.clone() for key, value in pipeline.denoiser.state_dict().items()}
    with caplog.at_level(logging.INFO):
        WEIGHTS.load(pipeline, tmp_path / "2d.ckpt", is_start=True)
    assert "are new" in caplog.text
    assert same(source, pipeline.denoiser)
    for key in set(before) - set(source.state_dict()):
        assert torch.equal(pipeline.denoiser.state_dict()[key], before[key])


def test_single_view_checkpoint_is_no_multi_view_model(tmp_path: Path) -> None:
    published_file(tiny_denoiser(**SINGLE), tmp_path / "2d.ckpt", "denoiser2d")
    pipeline = tiny_pipeline(other(tiny_denoiser()))
    with pytest.raises(ValueError, match=r"2d\.ckpt does not fit this network: missing embed_cam\.weight"):
        WEIGHTS.load(pipeline, tmp_path / "2d.ckpt")
    assert same(other(tiny_denoiser()), pipeline.denoiser)


def test_two_checkpoints_second_wins(tmp_path: Path) -> None:
    published_file(tiny_denoiser(**SINGLE), tmp_path / "2d.ckpt", "denoiser2d")
    second = other(tiny_denoiser())
    published_file(second, tmp_path / "mv.ckpt", "denoisermv")
    pipeline = tiny_pipeline()
    WEIGHTS.load(pipeline, [tmp_path / "2d.ckpt", tmp_path / "mv.ckpt"], "pl_2d_mv")
    assert same(pipeline.denoiser, second)


def test_mismatched_parameters_are_named(tmp_path: Path) -> None:
    published_file(tiny_denoiser(), tmp_path / "mv.ckpt", "denoisermv")
    with pytest.raises(ValueError, match=r"mv\.ckpt does not fit this network: unexpected .*and \d+ more"):
        WEIGHTS.load(tiny_pipeline(tiny_denoiser(**SINGLE)), tmp_path / "mv.ckpt")
    with pytest.raises(ValueError, match=r"embed_motion\.weight is \(16, 44\), expected \(24, 44\)"):
        WEIGHTS.load(tiny_pipeline(tiny_denoiser(dim=24)), tmp_path / "mv.ckpt")
    with pytest.raises(ValueError, match=r"missing trunk\.layers\.2"):
        WEIGHTS.load(tiny_pipeline(tiny_denoiser(num_layers=3)), tmp_path / "mv.ckpt")
    published_file(tiny_denoiser(**SINGLE), tmp_path / "2d.ckpt", "denoiser2d")
    with pytest.raises(ValueError, match=r"missing embed_cam\.weight"):
        WEIGHTS.load(tiny_pipeline(tiny_denoiser(**(SINGLE | {"cam_dim": 4}))), tmp_path / "2d.ckpt")


def test_a_failed_load_changes_nothing(tmp_path: Path) -> None:
    published_file(tiny_denoiser(), tmp_path / "mv.ckpt", "denoisermv")
    pipeline, untouched = tiny_pipeline(other(tiny_denoiser(num_layers=3))), other(tiny_denoiser(num_layers=3))
    with pytest.raises(ValueError, match="does not fit"):
        WEIGHTS.load(pipeline, tmp_path / "mv.ckpt")
    assert same(pipeline.denoiser, untouched)


def test_damaged_files_get_one_sentence(tmp_path: Path) -> None:
    good = tmp_path / "good.ckpt"
    published_file(tiny_denoiser(), good, "denoisermv")
    content = good.read_bytes()
    damaged = {
        "cut.ckpt": content[: len(content) // 2],
        "empty.ckpt": b"",
        "text.ckpt": b"hello",
        "cut.safetensors": b"\x10",
        "text.safetensors": b"hello world, this is no tensor file",
    }
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=rf"{name} is no readable checkpoint.*copy or download it again"):
            WEIGHTS.read(tmp_path / name)
    for content in ({"weights": {}}, [1, 2], {"state_dict": 5}):
        torch.save(content, tmp_path / "other.ckpt")
        with pytest.raises(ValueError, match=r"other\.ckpt is no readable checkpoint"):
            WEIGHTS.read(tmp_path / "other.ckpt")
    torch.save({"state_dict": {"net.weight": torch.zeros(2)}}, tmp_path / "stranger.ckpt")
    with pytest.raises(ValueError, match=r"stranger\.ckpt contains no parameters named pipeline\.denoiser"):
        WEIGHTS.read(tmp_path / "stranger.ckpt")


class Dangerous:
    """Would run a command when unpickled without care."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        return (os.system, (self.command,))


class Options(dict):
    """What a training script may leave in its checkpoints: a class of its own, with state of all kinds."""

    def __init__(self, **values: object) -> None:
        super().__init__(values)
        self.path, self.seed = Path("x"), np.float64(3.0)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("where", ["hyper_parameters", "state_dict"])
def test_code_in_a_checkpoint_is_not_run(where: str, zipped: bool, tmp_path: Path) -> None:
    source = tiny_denoiser()
    content = {"state_dict": {f"pipeline.denoiser.{k}": v for k, v in source.state_dict().items()}}
    content.setdefault(where, {})["surprise"] = Dangerous(f"touch {tmp_path / 'was_run'}")
    torch.save(content, tmp_path / "bad.ckpt", _use_new_zipfile_serialization=zipped)
    weights = WEIGHTS.read(tmp_path / "bad.ckpt")
    assert weights.keys() == source.state_dict().keys()
    assert not (tmp_path / "was_run").exists()
    content["state_dict"] = Dangerous(f"touch {tmp_path / 'was_run'}")
    torch.save(content, tmp_path / "worse.ckpt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="is no readable checkpoint.*Placeholder"):
        WEIGHTS.read(tmp_path / "worse.ckpt")
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_foreign_classes_next_to_the_weights_are_skipped(zipped: bool, tmp_path: Path) -> None:
    module = types.ModuleType("gone_tomorrow")
    module.Options = Options  # type: ignore[attr-defined]
    source = other(tiny_denoiser())
    published_file(source, tmp_path / "plain.ckpt", "denoisermv")
    content = torch.load(tmp_path / "plain.ckpt", weights_only=True)
    content["hyper_parameters"] = {"args": Options(lr=1e-4), "more": [np.arange(3), {Path("a"), torch.float16}]}
    content["loops"] = torch.nn.Parameter(torch.zeros(2))
    name = Options.__module__
    try:
        sys.modules["gone_tomorrow"], Options.__module__ = module, "gone_tomorrow"
        torch.save(content, tmp_path / "full.ckpt", _use_new_zipfile_serialization=zipped)
    finally:
        del sys.modules["gone_tomorrow"]
        Options.__module__ = name
    pipeline = tiny_pipeline()
    WEIGHTS.load(pipeline, tmp_path / "full.ckpt")
    assert same(pipeline.denoiser, source)
    assert "gone_tomorrow" not in sys.modules


def test_missing_files_and_wrong_types(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Checkpoint not found: .*gone\.ckpt"):
        WEIGHTS.read(tmp_path / "gone.ckpt")
    with pytest.raises(FileNotFoundError, match=WEIGHTS_NAME):
        WEIGHTS.read(tmp_path)
    with pytest.raises(ValueError, match="'tar'.*'pl', 'pl_2d_mv'"):
        WEIGHTS.load(tiny_pipeline(), tmp_path / "x.ckpt", "tar")
    with pytest.raises(ValueError, match=r"got 1 path\(s\).*pl_2d_mv takes 2"):
        WEIGHTS.load(tiny_pipeline(), tmp_path / "x.ckpt", "pl_2d_mv")
    with pytest.raises(ValueError, match=r"got 2 path\(s\)"):
        WEIGHTS.load(tiny_pipeline(), [tmp_path / "x.ckpt", tmp_path / "y.ckpt"])


def test_frozen_groups() -> None:
    def trainable(group: str) -> set[str]:
        denoiser = tiny_denoiser()
        freeze_parameters(denoiser, group, FREEZE_GROUPS)
        return {name for name, p in denoiser.named_parameters() if p.requires_grad}

    everything = {name for name, _ in tiny_denoiser().named_parameters()}
    assert trainable("none") == everything
    new = ("embed_cam", "root_head", "view_attention", "view_out", "view_norm")
    assert trainable("pretrained_2d") == {name for name in everything if any(part in name.split(".") for part in new)}
    assert trainable("backbone") - trainable("pretrained_2d") == {"embed_text.weight", "embed_text.bias"}
    with pytest.raises(ValueError, match=r"'half'.*" + sorted(FREEZE_GROUPS)[0]):
        freeze_parameters(tiny_denoiser(), "half", FREEZE_GROUPS)
    denoiser = tiny_denoiser()
    freeze_parameters(denoiser, "pretrained_2d", FREEZE_GROUPS)
    freeze_parameters(denoiser, "none", FREEZE_GROUPS)
    assert all(p.requires_grad for p in denoiser.parameters())

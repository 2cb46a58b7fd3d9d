"""Runs that leave folders for the Wis3D viewer: published names, placement, the recorded motion beside the made one."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from hmr4d.engine.compose import compose_config
from hmr4d.engine.run import run
from hmr4d.evaluation.callbacks.wis3d_visualizer import Wis3DMotion2Dto3DVisualizer, real_motion
from hmr4d.methods.registry import get_method
from hmr4d.motion.motion import MotionBatch
from tests.data.tiny_store import write_store
from tests.evaluation.callbacks.test_metric_t2m import configuration
from tests.evaluation.callbacks.test_metric_t2m import inputs as scored  # noqa: F401
from tests.visualization.conftest import walking_joints

ONE_PROCESS = SimpleNamespace(global_rank=0, world_size=1, is_global_zero=True)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inputs folder with a store and the weights of an untrained tiny network."""
    folder = tmp_path_factory.mktemp("inputs")
    write_store(folder / "bandai_namco", {"clip0": 40}, splits={"clip0": "test"}, text_cache=False)
    torch.manual_seed(0)
    cfg = compose_config(["exp=motion2to3/finetune_mv", "text=hash", "network=32x2"])
    state = {f"pipeline.denoiser.{k}": v for k, v in get_method("motion2to3").build(cfg).denoiser.state_dict().items()}
    torch.save({"state_dict": state}, folder / "model.ckpt")
    return folder


def composed(inputs: Path, out: Path, *more: str) -> DictConfig:
    return compose_config(
        [
            "text=hash",
            "network=32x2",
            f"paths.inputs={inputs}",
            f"paths.outputs={out}",
            "trainer.accelerator=cpu",
            f"ckpt_path={inputs / 'model.ckpt'}",
            "+trainer.enable_progress_bar=false",
            "pipeline.sampling.num_inference_steps=1",
            "+global/append=add_cb_Wis3d_2dto3dVisualizer",
            *more,
        ]
    )


def mesh_names(sequence: Path) -> set[str]:
    return {p.stem for p in sequence.glob("00000/meshes/*.ply")}


def test_new_text_by_the_published_command(inputs: Path, tmp_path: Path) -> None:
    pytest.importorskip("wis3d", reason="the package wis3d is missing")
    words = [
        "exp=mas/video_motion2dmv_nr/mdm_test",
        "global/task=motion2dmv/single_newtext_nr",
        "prompts_file=null",
        "prompts=[a person walks and/or runs in a circle, bow]",
        "seconds=2",
        "export=[npz]",
        "callbacks.wis3d.plot_2D=true",
    ]
    run(composed(inputs, tmp_path, *words))
    folder = tmp_path / "wis3d_vis"
    assert sorted(p.name for p in folder.iterdir()) == ["000_a person walks and_o", "001_bow"]
    assert len(list((folder / "001_bow").iterdir())) == 300
    assert mesh_names(folder / "001_bow") == {"01ours_pred ::: bow", "02pred", *(f"03view-{i}" for i in range(4))}


def test_recorded_motion_is_shown_next_to_generated_motion(scored: Path, tmp_path: Path) -> None:  # noqa: F811
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("wis3d", reason="the package wis3d is missing")
    words = [
        "+global/append=add_cb_Wis3d_2dto3dVisualizer",
        "callbacks.wis3d.max_count=2",
        "callbacks.wis3d.max_len=4",
        f"callbacks.wis3d.folder={tmp_path / 'w'}",
        "replications=1",
        "multimodality_captions=0",
    ]
    run(configuration(scored, tmp_path, *words))
    sequences = sorted((tmp_path / "w_vis").iterdir())
    assert [p.name[:4] for p in sequences] == ["000_", "001_"]
    for sequence in sequences:
        made, real = sorted(mesh_names(sequence), reverse=True)
        assert made.startswith("01ours_pred ::: ") and real == made.replace("01ours_pred", "00gt")
        mesh = trimesh.load(sequence / "00000/meshes" / f"{real}.ply", process=False)
        assert abs(mesh.vertices[:, [0, 2]].mean(0)).max() < 0.5  # above the origin, wherever it was recorded
        assert mesh.visual.vertex_colors[:, [0, 2]].max() == 0


def test_the_recorded_excerpt_is_the_scored_one(scored: Path) -> None:  # noqa: F811
    clips = instantiate(configuration(scored, scored).data.test)()
    item, repeat = 3, 1
    first, count = clips.excerpt(repeat, item).rows
    whole = clips.real(item)
    real = real_motion(clips, repeat, item, fps=clips.real_fps)
    torch.testing.assert_close(real[..., 1], whole[first : first + count + 1, :, 1])  # turned about the vertical
    torch.testing.assert_close(torch.cdist(real[0], real[0]), torch.cdist(whole[first], whole[first]))
    torch.testing.assert_close(real[0, 0, [0, 2]], torch.zeros(2))
    assert len(real_motion(clips, repeat, item, fps=2 * clips.real_fps)) == 2 * count + 1


def test_names_and_placement_of_the_written_figures(tmp_path: Path) -> None:
    """The floor is that of the valid frames, whatever lies in the frames beyond."""
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("wis3d", reason="the package wis3d is missing")
    walk = torch.from_numpy(walking_joints(8)) @ torch.tensor([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])  # to the side
    joints3d = torch.stack([torch.cat([walk[:5] + 3.0, torch.full((3, 22, 3), -9.0)]), walk])
    output = MotionBatch(joints3d=joints3d, lengths=torch.tensor([5, 8]), fps=20.0, text=["short", "long"])
    viewer = Wis3DMotion2Dto3DVisualizer("mdm", max_len=6, max_count=1, folder=str(tmp_path / "wis3d"))
    viewer.on_predict_batch_end(ONE_PROCESS, None, output, {}, 0)  # type: ignore[arg-type]
    assert [p.name for p in (tmp_path / "wis3d").iterdir()] == ["000_short"]  # max_count
    scenes = sorted((tmp_path / "wis3d/000_short").iterdir())
    assert [p.name for p in scenes] == [f"{i:05d}" for i in range(6)]
    meshes = [trimesh.load(p / "meshes" / "01mdm_pred ::: short.ply", process=False) for p in scenes]
    lowest = min(m.vertices[:, 1].min() for m in meshes)
    assert -0.021 < lowest < 0.001  # the lowest joint at 0, its tube around it
    middle = np.array([m.vertices.mean(0) for m in meshes])
    assert abs(middle[0, 0]) < 0.1 and abs(middle[0, 2]) < 0.1
    assert middle[4, 2] - middle[0, 2] == pytest.approx(1.2 * 4 / 20, abs=0.05)  # it walks towards +z now
    np.testing.assert_array_equal(meshes[5].vertices, meshes[4].vertices)
    red, green, blue = meshes[0].visual.vertex_colors[:, :3].T.astype(int)
    assert green.max() == 0 and (red == blue).all() and red.max() > 200  # magenta: not ours


def test_a_long_motion_is_cut_and_that_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("wis3d", reason="the package wis3d is missing")
    walk = torch.from_numpy(walking_joints(8))[None]
    output = MotionBatch(joints3d=walk, lengths=torch.tensor([8]), fps=20.0, text=["long"])
    viewer = Wis3DMotion2Dto3DVisualizer(subset="a", max_len=3, folder=str(tmp_path / "w"))
    viewer.on_predict_batch_end(ONE_PROCESS, None, output, {}, 0)  # type: ignore[arg-type]
    assert len(list((tmp_path / "w_a/000_long").iterdir())) == 3
    assert "'long' is shown up to frame 3 of 8" in caplog.text
    with pytest.raises(ValueError, match="these have none"):
        Wis3DMotion2Dto3DVisualizer(plot_2D=True, folder=str(tmp_path / "w")).on_predict_batch_end(
            ONE_PROCESS,
            None,
            output,
            {},
            0,  # type: ignore[arg-type]
        )


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wis3d", None)
    with pytest.raises(ImportError, match=re.escape("pip install -r requirements_render.txt")):
        Wis3DMotion2Dto3DVisualizer()


@pytest.mark.parametrize("wrong", [{"max_len": 0}, {"max_count": 0}])
def test_counts_below_one_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Wis3DMotion2Dto3DVisualizer(**wrong)

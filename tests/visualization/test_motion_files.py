"""Files of generated motions: names, numbers, contents."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hmr4d.export.motion_npz import load_motion_npz
from hmr4d.motion.motion import MotionBatch
from hmr4d.visualization.motion_files import MotionWriter, check_exports, slug


def output(texts: list[str]) -> MotionBatch:
    generator = torch.Generator().manual_seed(0)
    joints3d = torch.rand(len(texts), 6, 22, 3, generator=generator)
    return MotionBatch(joints3d=joints3d, lengths=torch.tensor([6, 4][: len(texts)]), fps=20.0, text=texts)


def test_one_set_of_files_per_prompt_sorted_in_prompt_order(tmp_path: Path) -> None:
    writer = MotionWriter(tmp_path, "npz,html", num_prompts=12)
    writer.write(output(["Zebra walk!", 'a/b: "bow"']), [(11, 0), (2, 0)])
    names = [p.name for p in writer.finish()]
    assert names == [
        "002_a_b_bow.html",
        "002_a_b_bow.npz",
        "011_zebra_walk.html",
        "011_zebra_walk.npz",
        "contact_sheet.png",
        "index.html",
    ]
    assert all((tmp_path / name).stat().st_size > 0 for name in names)


def test_files_contain_the_valid_frames_and_the_provenance(tmp_path: Path) -> None:
    motions = output(["one", "two"])
    writer = MotionWriter(tmp_path, ["npz"], about={"model": "m"})
    writer.write(motions, [(0, 0), (1, 0)], [{"seed": 5}, {"seed": 6}])
    read = load_motion_npz(tmp_path / "001_two.npz")
    assert read.joints3d.shape == (4, 22, 3)
    torch.testing.assert_close(read.joints3d, motions[1].joints3d)
    assert (read.text, read.fps, read.metadata) == ("two", 20.0, {"model": "m", "seed": 6})


def test_files_contain_the_joint_convention(tmp_path: Path) -> None:
    writer = MotionWriter(tmp_path, "npz,glb,html")
    motions = replace(output(["one", "two"]), joint_convention="bandai_namco")
    writer.write(motions, [(0, 0), (1, 0)])
    writer.finish()
    assert load_motion_npz(tmp_path / "000_one.npz").metadata == {"joint_convention": "bandai_namco"}
    plain = MotionWriter(tmp_path / "plain", "glb,html")
    plain.write(output(["one", "two"]), [(0, 0), (1, 0)])
    plain.finish()
    for name in ("000_one.glb", "000_one.html", "index.html"):  # their bodies are turned otherwise
        assert (tmp_path / name).read_bytes() != (tmp_path / "plain" / name).read_bytes()


def test_a_video_of_the_body_stands_next_to_that_of_the_joints(tmp_path: Path) -> None:
    writer = MotionWriter(tmp_path, "mp4,mesh")
    writer.write(output(["a bow"]), [(0, 0)])
    assert sorted(p.name for p in tmp_path.glob("*.mp4")) == ["000_a_bow.mp4", "000_a_bow_mesh.mp4"]
    assert all(p.stat().st_size > 1000 for p in writer.written)


def test_several_samples_of_a_prompt_have_different_names(tmp_path: Path) -> None:
    writer = MotionWriter(tmp_path, ["npz"], num_samples=2)
    writer.write(output(["bow", "bow"]), [(0, 0), (0, 1)])
    assert sorted(p.name for p in tmp_path.glob("*.npz")) == ["000_s0_bow.npz", "000_s1_bow.npz"]


def test_a_long_or_empty_prompt_gives_a_valid_name() -> None:
    assert len(slug("walk " * 100)) <= 48
    assert slug("!!!") == "motion"
    assert slug("Walk, then 走る!") == "walk_then_走る" and slug("ходит") == "ходит"
    assert slug("walk " * 100) != slug("walk " * 101) and len(slug("走" * 300).encode()) <= 150


def test_format_names_are_case_insensitive() -> None:
    assert check_exports("GLB, bvh,Bvh") == ["glb", "bvh"]


@pytest.mark.parametrize("export", ["", "npz,obj", []])
def test_an_unknown_export_is_refused(export: str | list[str]) -> None:
    with pytest.raises(ValueError, match="known"):
        check_exports(export)


def test_formats_for_other_programs_and_their_additional_files(tmp_path: Path) -> None:
    writer = MotionWriter(tmp_path, "bvh,csv,amass", about={"licence": "CC0"})
    writer.write(output(["sway"]), [(0, 0)])
    names = [p.name for p in writer.finish()]
    assert names == ["000_sway.amass.npz", "000_sway.bvh", "000_sway.bvh.json", "000_sway.csv", "contact_sheet.png"]
    assert all((tmp_path / name).stat().st_size > 0 for name in names)


def test_a_page_plays_the_body_and_the_2d_views_of_the_motion(tmp_path: Path) -> None:
    motions = output(["one", "two"])
    joints2d = torch.rand(2, 3, 6, 22, 2, generator=torch.Generator().manual_seed(1))
    writer = MotionWriter(tmp_path, "html")
    writer.write(replace(motions, joints2d=joints2d), [(0, 0), (1, 0)])
    text = (tmp_path / "001_two.html").read_text("utf-8")
    data = json.loads(text.split('id="data">', 1)[1].split("</script>", 1)[0])
    (motion,) = data["motions"]
    assert (motion["views"]["joints2d"]["rows"], motion["views"]["joints2d"]["columns"]) == (4, 3 * 22 * 2)
    assert motion["body"]["turns"]["rows"] == 4 and data["mesh"] is not None

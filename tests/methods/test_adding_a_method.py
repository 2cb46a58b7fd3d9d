"""The page on adding a method works: its package is trained, released, loaded by name, sampled and exported."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.cli import generate, prepare, release, train
from hmr4d.engine.compose import check_targets, compose_config
from hmr4d.engine.run import finished_steps
from hmr4d.export.motion_npz import load_motion_npz
from hmr4d.methods.registry import get_method, known_methods
from hmr4d.motion_files.bvh import read_bvh

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding_a_method.md"
FILE = re.compile(r"<!-- file: (?P<name>\S+) -->\n```\w+\n(?P<content>.*?)^```", re.M | re.S)
ENTRY_POINT = re.compile(r'entry-points\."(?P<group>[\w.]+)"\]\n(?P<name>\w+) = "(?P<value>[\w.:]+)"')


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The files of the page in a folder, installed there; the working directory is beside them."""
    folder = tmp_path / "package"
    for found in FILE.finditer(PAGE.read_text("utf-8")):
        path = folder / found["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found["content"], encoding="utf-8")
    point = ENTRY_POINT.search((folder / "pyproject.toml").read_text("utf-8"))
    assert point
    installed = folder / "toy_method-0.1.dist-info"  # as pip leaves it
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-method\nVersion: 0.1\n")
    (installed / "entry_points.txt").write_text(f"[{point['group']}]\n{point['name']} = {point['value']}\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HMR4D_INPUTS", raising=False)
    yield folder
    sys.modules.pop("toy_method", None)


def page_commands() -> list[list[str]]:
    block = re.search(r"^```bash\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    assert block
    return [shlex.split(line)[1:] for line in block[1].splitlines()]


def test_the_method_of_the_page_is_trained_released_and_used(package: Path) -> None:
    mains = {f"tools/{tool.__name__.rpartition('.')[2]}.py": tool.main for tool in (prepare, train, release, generate)}
    for tool, *words in page_commands():
        assert mains[tool](words) == 0, (tool, words)
    assert finished_steps(Path("outputs/synthetic/toy_walk/checkpoints/last.ckpt")) == 3
    exec(compile((package / "use.py").read_text("utf-8"), "use.py", "exec"), {})
    motion = load_motion_npz(Path("outputs/toy/000_a_person_walks.npz"))
    assert motion.joints3d.shape == (40, 22, 3) and np.isfinite(motion.joints3d).all()
    assert motion.metadata["model"] == "toy" and motion.metadata["licence"] == "none"
    assert read_bvh(Path("outputs/toy/000_a_person_walks.bvh")).num_frames == 40
    assert "Toy, 2,211 parameters" in Path("inputs/checkpoints/hmr4d/toy/README.md").read_text("utf-8")


def test_an_announced_method_is_known_while_it_is_installed(package: Path) -> None:
    assert "toy" in known_methods() and "toy_method" not in sys.modules
    toy = get_method("toy")
    assert (toy.format, toy.capabilities, toy.test_task) == ("hmr4d-toy", ("sample",), "text2motion/test")
    cfg = compose_config(["exp=toy/walk"])
    check_targets(cfg.pipeline)  # the class of an installed method may be built from the configuration of a run
    sys.path.remove(str(package))
    assert "toy" not in known_methods()
    with pytest.raises(ValueError, match=r"Unknown method 'toy'.*entry point"):
        get_method("toy")
    with pytest.raises(ValueError, match=r"toy_method\.ToyPipeline; a configuration file"):
        check_targets(cfg.pipeline)


def test_pip_installs_every_file_of_the_method(package: Path) -> None:
    tomllib = pytest.importorskip("tomllib")  # new in Python 3.11
    tool = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    (name,) = tool["packages"]
    written = {path for path in (package / name).rglob("*") if path.suffix in (".py", ".yaml")}
    data = {path for pattern in tool["package-data"][name] for path in (package / name).glob(pattern)}
    assert written == {package / name / "__init__.py", *data}


def test_a_missing_package_does_not_stop_other_methods(package: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.rmtree(package / "toy_method")
    assert compose_config(["exp=motion2to3/pretrain_2d"]).exp_name == "motion2to3_pretrain_2d"
    assert "'toy' = toy_method:METHOD of the package 'toy-method' cannot be imported" in caplog.text
    with pytest.raises(ValueError, match=r"No module named 'toy_method'.*Reinstall or remove it"):
        get_method("toy")


def test_the_losses_of_the_page_fall(package: Path) -> None:
    toy = get_method("toy")
    pipeline = toy.pipeline_class(text_dim=8, fps=20.0)  # type: ignore[call-arg]
    batch = {
        "joints3d": torch.randn(2, 5, 22, 3),
        "valid": torch.ones(2, 5, dtype=torch.bool),
        "lengths": torch.tensor([5, 5]),
        "text_pooled": torch.eye(8)[:2],
    }
    optimizer = torch.optim.Adam(pipeline.parameters(), lr=0.05)
    losses = []
    for step in range(60):
        terms = pipeline.training_loss(batch, pipeline.draw_training(batch, torch.Generator().manual_seed(step)))  # type: ignore[operator]
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        losses.append(float(terms["speed_loss"].detach()))
    assert losses[-1] < 0.1 * losses[0]

"""The files that setuptools puts into a wheel: all that is needed, and enough in any other folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ("configs", "inputs/checkpoints/hmr4d", "inputs/cmu")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that setuptools fills before it packs a wheel."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("build")
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def tracked(*places: str) -> list[str]:
    """Files below some folders that git knows."""
    try:
        done = subprocess.run(
            ["git", "ls-files", "-z", "--", *places], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git checkout to list files from")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def run_installed(built: Path, folder: Path, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """`hmr4d` of the built package in a folder of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HMR4D_")}
    environment |= {"PYTHONPATH": str(built), "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, "-m", "hmr4d", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_wheel_has_the_code_its_resources_and_what_ships(built: Path) -> None:
    packed = {p.relative_to(built).as_posix() for p in built.rglob("*") if p.is_file()}
    wanted = {name for name in tracked("hmr4d")}
    shipped = {f"hmr4d/_shipped/{name}" for name in tracked(*SHIPPED)}
    assert {Path(name).suffix for name in wanted | shipped} >= {".py", ".npz", ".yaml", ".safetensors", ".xz"}
    assert not (wanted | shipped) - packed
    assert not {name for name in packed if "__pycache__" in name or name.startswith("hmr4d/_shipped/configs/local/")}


def test_wheel_takes_no_release_that_git_does_not_track(tmp_path: Path) -> None:
    """Somebody's own release lies beside those that ship; a source archive, without git, is taken as it is."""
    for name in ("setup.py", "README.md", "LICENSE", *(p.name for p in ROOT.glob("requirements*.txt"))):
        shutil.copyfile(ROOT / name, tmp_path / name)
    ours = ("hmr4d/__init__.py", "configs/a.yaml", "inputs/cmu/a.npz", "inputs/checkpoints/hmr4d/shipped/config.json")
    own = ("configs/local/default.yaml", "inputs/checkpoints/hmr4d/mine/config.json")
    for name in (*ours, *own):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('__version__ = "1.0"\n')

    def packed(folder: str) -> set[str]:
        command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", folder]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        shipped = tmp_path / folder / "hmr4d" / "_shipped"
        return {p.relative_to(shipped).as_posix() for p in shipped.rglob("*") if p.is_file()}

    assert packed("archive") == {*ours[1:], *own}
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", *ours], cwd=tmp_path, check=True)
    assert packed("checkout") == set(ours[1:])


def test_installed_package_finds_what_ships_from_any_folder(built: Path, tmp_path: Path) -> None:
    words = ["exp=motion2to3/everyday", "data=cmu", "--cfg", "job", "--resolve"]
    done = run_installed(built, tmp_path, ["train", *words])
    assert done.returncode == 0, done.stderr
    inputs = built / "hmr4d" / "_shipped" / "inputs"
    for name in ("cmu", "checkpoints/hmr4d/motion2to3-everyday", "checkpoints/hmr4d/evaluator-everyday"):
        assert (inputs / name).is_dir() and f": {inputs / name}\n" in done.stdout
    assert "outputs: outputs\n" in done.stdout


@pytest.mark.slow
def test_installed_package_generates_and_trains(built: Path, tmp_path: Path) -> None:
    before = {p for p in built.rglob("*") if "__pycache__" not in p.parts}
    done = run_installed(built, tmp_path, ["generate", "a person walks forward", "--export", "npz"])
    assert done.returncode == 0, done.stderr
    assert [p.name for p in (tmp_path / "outputs" / "generated").glob("*.npz")] == ["000_a_person_walks_forward.npz"]
    small = ["network=tiny", "trainer.max_steps=2", "data.batch_size=2", "text=hash", "trainer.accelerator=cpu"]
    done = run_installed(built, tmp_path, ["train", "exp=motion2to3/pretrain_2d", "data=cmu", *small])
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "outputs").rglob("last.ckpt"))
    assert {p for p in built.rglob("*") if "__pycache__" not in p.parts} == before

"""Where inputs are found: in the user's folder, else among those that ship."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hmr4d.utils.command_line import command_line
from hmr4d.utils.places import find_input, inputs_folder, is_installed_file, outputs_folder, shipped_folder
from hmr4d.utils.releases import model_metadata, release_folders

ROOT = Path(__file__).resolve().parents[2]


def test_a_checkout_ships_its_top_folders() -> None:
    assert shipped_folder("configs") == ROOT / "configs" and (shipped_folder("configs") / "train.yaml").is_file()
    assert not is_installed_file(ROOT / "inputs" / "cmu")


def test_results_go_to_the_outputs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HMR4D_OUTPUTS", raising=False)
    assert outputs_folder() == Path("outputs")
    monkeypatch.setenv("HMR4D_OUTPUTS", str(tmp_path))
    assert outputs_folder() == tmp_path


def test_inputs_of_the_user_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HMR4D_INPUTS", raising=False)
    assert inputs_folder() == Path("inputs")
    monkeypatch.setenv("HMR4D_INPUTS", str(tmp_path))
    assert inputs_folder() == tmp_path
    assert find_input("cmu") == ROOT / "inputs" / "cmu"
    (tmp_path / "cmu").mkdir()
    assert find_input("cmu") == tmp_path / "cmu"
    assert find_input("cmu", tmp_path / "other") == ROOT / "inputs" / "cmu"
    assert find_input("nothing_of_this_name") == tmp_path / "nothing_of_this_name"


def test_a_released_model_is_called_by_its_name(tmp_path: Path) -> None:
    folder = release_folders()[1] / "ray-lifting"
    assert model_metadata(folder, folder)["model"] == "ray-lifting"
    assert model_metadata(tmp_path / "mine", tmp_path / "mine")["model"] == str(tmp_path / "mine")


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["some/where/bin/hmr4d", "generate", "a person bows"], "hmr4d generate 'a person bows'"),
        (["some/where/hmr4d/__main__.py", "lift", "a.json"], "python -m hmr4d lift a.json"),
        (["tools/generate.py", "x"], "tools/generate.py x"),
    ],
)
def test_command_line_as_typed(argv: list[str], shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert command_line() == shown

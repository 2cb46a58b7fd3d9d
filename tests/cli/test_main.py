"""`hmr4d <command>`: the list of commands, their help, and how mistakes end."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from hmr4d.cli.console import run_guarded
from hmr4d.cli.main import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]
NOT_COMMANDS = ("export_humanml3d",)  # the published script under tools/mas alone


def test_every_command_module_is_a_command() -> None:
    has_main = {
        path.stem
        for path in (ROOT / "hmr4d" / "cli").glob("*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name == "main"
    }
    assert has_main - {"main", *NOT_COMMANDS} == {command.module for command in COMMANDS}


def test_every_tool_is_a_command() -> None:
    assert {path.stem for path in (ROOT / "tools").glob("*.py")} == {command.tool for command in COMMANDS}
    for command in COMMANDS:
        assert f'main(["{command.name}", *sys.argv[1:]])' in (ROOT / "tools" / f"{command.tool}.py").read_text("utf-8")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for command in COMMANDS:
        assert f"  {command.name} " in " ".join(line for line in lines if line.endswith(command.about))
    assert main([]) == 2


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_help_of_a_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main([name, "--help"])
    except SystemExit as stop:
        status = stop.code
    assert not status
    assert capsys.readouterr().out.startswith(f"usage: hmr4d {name} ")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("genrate", "generate"), ("fit_smpl", "fit"), ("evaluator_card", "evaluator-card"), ("Export", "export")],
)
def test_unknown_command_names_the_nearest(typed: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([typed, "--help"]) == 2
    said = capsys.readouterr().err
    assert (
        said.startswith(f"error: '{typed}' is not a command of hmr4d. Did you mean {meant}") and said.count("\n") == 1
    )


def test_mistake_of_a_user_ends_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", str(tmp_path / "gone.yaml")]) == 2
    assert main(["train", "exp=nope"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and all(line.startswith("error: ") for line in said)


def test_ctrl_c_and_our_own_errors(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    def wrong() -> int:
        return {}["a mistake of ours"]

    assert run_guarded(interrupted, kept="nothing was written") == 130
    assert capsys.readouterr().err == "Stopped; nothing was written.\n"
    with pytest.raises(KeyError):
        run_guarded(wrong)


def test_help_and_wrong_overrides_come_before_heavy_imports() -> None:
    code = (
        "import sys\n"
        "from hmr4d.cli.main import main\n"
        "assert main(['--help']) == 0 and main(['train', '--help']) == 0\n"
        "assert not {'torch', 'hydra', 'numpy'} & set(sys.modules)\n"
        "for words in (['exp=nope'], ['exp=motion2to3/cmu', 'optimizer.lr=fast'], ['exp=motion2to3/cmu', 'seed']):\n"
        "    assert main(['train', *words]) == 2\n"
        "assert not {'torch', 'pytorch_lightning', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "exp=motion2to3/pretrain_2d" in done.stdout and "text2motion/new_text" in done.stdout
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 3

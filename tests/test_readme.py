"""README and docs: commands parse, configurations compose, Python examples import what is there, links resolve."""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from hmr4d.cli.main import COMMANDS as hmr4d_commands
from hmr4d.cli.main import find_command
from hmr4d.engine.compose import compose_config
from tests.test_import_direction import ROOMS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("*puts/README.md")])
# A fenced block; "<!-- not run: reason -->" on the line before says that its commands are none of ours.
BLOCK = re.compile(r"^(?P<before>[^\n]*)\n```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^```", re.M | re.S)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PAGE_NAME = re.compile(r"\bdocs/[\w/]+\.md\b")


@dataclass(frozen=True)
class Command:
    """A command of a page: the program under tools/ and its words."""

    page: str
    tool: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {self.tool} {' '.join(self.words)}"


def marked(text: str, name: str) -> str:
    """The block under "newcomer: <name>", found the way the fresh-machine check finds it."""
    found = re.search(rf"<!--\s*newcomer:\s*{name}\s*-->\s*\n```[a-z]*\n(.*?)\n```", text, re.S)
    assert found, f"README.md has no block marked '<!-- newcomer: {name} -->'"
    return found.group(1)


def blocks(page: Path, *languages: str) -> list[str]:
    found = BLOCK.finditer("\n" + page.read_text("utf-8"))
    return [b["body"] for b in found if b["language"] in languages and "<!-- not run:" not in b["before"]]


def shell_commands(body: str) -> list[list[str]]:
    """Words of every simple command of a shell block, without prompts, comments and assignments before the command."""
    commands = []
    for line in body.replace("\\\n", " ").splitlines():
        words: list[str] = []
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=";&|")
        lexer.whitespace_split, lexer.commenters = True, "#"
        for word in [*lexer, ";"]:
            if set(word) <= set(";&|"):
                while words and re.match(r"^[A-Z_]+=", words[0]):
                    words.pop(0)
                if words:
                    commands.append(words)
                words = []
            else:
                words.append(word)
    return commands


def tool_commands() -> list[Command]:
    commands: dict[tuple[str, ...], Command] = {}  # by its words: a command on two pages is tried once
    for page in PAGES:
        for body in blocks(page, "bash", "sh", "shell", "console"):
            for command in shell_commands(body):
                words = command
                if Path(command[0]).name == "hmr4d" and len(command) > 1 and not command[1].startswith("-"):
                    words = ["python", f"tools/{find_command(command[1]).tool}.py", *command[2:]]
                if len(words) > 1 and Path(words[0]).name.startswith("python") and words[1].endswith(".py"):
                    commands.setdefault(tuple(words[1:]), Command(page.name, words[1], tuple(words[2:])))
    return list(commands.values())


COMMANDS = tool_commands()


def overrides_of(words: tuple[str, ...]) -> list[str]:
    """The overrides among the words of a training command; "..." stands for a value the reader fills in."""
    is_sweep = any(w in ("-m", "--multirun") for w in words)
    overrides = [w.replace("=...", "=placeholder") for w in words if "=" in w and not w.startswith("-")]
    return [re.sub(r"=([^\[{(,]+),.*$", r"=\1", w) if is_sweep else w for w in overrides]


def parser_of(tool: Path) -> Callable[[], argparse.ArgumentParser] | None:
    """The function that makes the argument parser of a tool; None for a script that is no command of hmr4d."""
    modules = [command.module for command in hmr4d_commands if tool == ROOT / "tools" / f"{command.tool}.py"]
    if not modules:
        return None
    module = importlib.import_module(f"hmr4d.cli.{modules[0]}")
    return getattr(module, "parser", None) or module.build_parser


def test_shell_blocks_are_taken_apart() -> None:
    body = "$ A=1 python tools/x.py 'a b' k=[1,2] \\\n  --out o # why\ncd x && .venv/bin/python tools/y.py; ls | wc\n"
    assert shell_commands(body) == [
        ["python", "tools/x.py", "a b", "k=[1,2]", "--out", "o"],
        ["cd", "x"],
        [".venv/bin/python", "tools/y.py"],
        ["ls"],
        ["wc"],
    ]
    assert overrides_of(("-m", "seed=1,2", "a=[1,2]", "ckpt_path=...")) == [
        "seed=1",
        "a=[1,2]",
        "ckpt_path=placeholder",
    ]


def test_newcomer_blocks() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    run, test = marked(readme, "run"), marked(readme, "test")
    assert "\n" not in run and "\n" not in test
    assert "-r requirements.txt" in run
    words = shell_commands(run)[-1]
    assert words[:2] == [".venv/bin/hmr4d", "generate"]
    args = parser_of(ROOT / "tools" / "generate.py")().parse_args(words[2:])  # type: ignore[misc]
    assert len(args.prompts) == 2 and args.out.startswith("outputs/") and args.export == "npz,mp4,html,bvh,glb"


def test_test_command_makes_the_environment_where_there_is_none(tmp_path: Path) -> None:
    """The command is run with programs that only note how they are called: without and with an environment."""
    command = marked((ROOT / "README.md").read_text("utf-8"), "test")
    notes = tmp_path / "notes"
    note = f'#!/bin/sh\necho "$(basename "$0") $*" >> "{notes}"\n'
    programs, environment = tmp_path / "bin", tmp_path / ".venv" / "bin"
    programs.mkdir()
    makes = f'mkdir -p .venv/bin && cp "{programs}/python3" .venv/bin/python'
    (programs / "python3").write_text(f'{note}if [ "$2" = venv ]; then {makes}; fi\n')
    (programs / "python3").chmod(0o755)
    run = partial(
        subprocess.run,
        ["bash", "-eo", "pipefail", "-c", command],
        cwd=tmp_path,
        check=True,
        env=os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
    )
    run()
    first = notes.read_text().splitlines()
    assert first[0] == "python3 -m venv .venv" and first[-1] == "python -m pytest -q -n 2 --dist loadfile"
    assert [line for line in first if "requirements_test.txt" in line] and [line for line in first if "-e ." in line]
    notes.unlink()
    (environment / "pytest").write_text(note)
    (environment / "pytest").chmod(0o755)
    run()
    assert notes.read_text().splitlines() == ["python -m pytest -q -n 2 --dist loadfile"]


def test_continuous_integration_runs_the_readme_test() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    if not (shutil.which("awk") and shutil.which("bash")):
        pytest.skip("awk or bash is missing")
    subprocess.run(["bash", "-n", str(script)], check=True)
    program = re.search(r"awk '(.*?)' README\.md", script.read_text("utf-8"), re.S)
    assert program
    done = subprocess.run(["awk", program[1], "README.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == marked((ROOT / "README.md").read_text("utf-8"), "test")


def test_blocks_with_commands_say_their_language() -> None:
    """A block without a language would be passed over by the tests of commands."""
    wrong = [
        f"{page.name}: {line}"
        for page in PAGES
        for body in blocks(page, "", "text")
        for line in body.splitlines()
        if "tools/" in line
    ]
    assert not wrong, "\n".join(wrong)


def test_blocks_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```\npython tools/a.py\n```\n\n```bash\npython tools/b.py\n```\n", encoding="utf-8")
    assert blocks(page, "") == ["python tools/a.py\n"]
    assert blocks(page, "bash") == ["python tools/b.py\n"]


def test_there_are_commands() -> None:
    assert {"tools/train.py", "tools/generate.py", "tools/prepare.py"} <= {c.tool for c in COMMANDS}


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.tool == "tools/train.py"], ids=str)
def test_training_commands_compose(command: Command) -> None:
    overrides = overrides_of(command.words)
    if any(w.startswith("exp=") and ("<" in w or w == "exp=placeholder") for w in overrides):
        pytest.skip("stands for any experiment")
    assert any(w.startswith("exp=") for w in overrides), f"{command} names no exp"
    cfg = compose_config(overrides)
    assert cfg.exp_name


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.tool != "tools/train.py"], ids=str)
def test_other_commands_parse(command: Command) -> None:
    tool = ROOT / command.tool
    assert tool.is_file(), f"{command.page} runs {command.tool}, which does not exist"
    if not command.tool.startswith("tools/"):
        return
    make_parser = parser_of(tool)
    words = [w.replace("...", "placeholder") for w in command.words if w != "..."]
    if make_parser is None:
        done = subprocess.run(
            [sys.executable, str(tool), "--help"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return
    try:
        make_parser().parse_args(words)
    except SystemExit as stop:
        assert not stop.code, f"{command} has a word that {command.tool} does not know"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_python_examples_name_what_exists(page: Path) -> None:
    for body in blocks(page, "python"):
        for node in ast.walk(ast.parse(body)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hmr4d":
                module = importlib.import_module(str(node.module))
                missing = [a.name for a in node.names if not hasattr(module, a.name)]
                assert not missing, f"{page.name}: {node.module} has no {missing}"


def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page."""
    headings = re.findall(r"^#+ +(.*)$", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)
    wrong = []
    for target in LINK.findall(text):
        if re.match(r"^(https?|mailto):", target):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        if not there.exists():
            wrong.append(f"{target}: no such file")
        elif anchor and there.suffix == ".md" and anchor not in anchors(there):
            wrong.append(f"{target}: no such heading")
    assert not wrong, f"{page.name}: {wrong}"


def test_pages_named_in_code_and_text_exist() -> None:
    sources = [p for f in ("hmr4d", "tools", "configs", "docs") for p in (ROOT / f).rglob("*")]
    sources += [ROOT / "README.md", *ROOT.glob("*puts/README.md")]
    wrong = [
        f"{p.relative_to(ROOT)}: {name}"
        for p in sorted(sources)
        if p.suffix in (".py", ".yaml", ".md")
        for name in set(PAGE_NAME.findall(p.read_text("utf-8")))
        if not (ROOT / name).is_file()
    ]
    assert not wrong, "\n".join(wrong)


def test_index_lists_every_page() -> None:
    listed = set(LINK.findall((ROOT / "docs" / "index.md").read_text("utf-8")))
    missing = {p.name for p in (ROOT / "docs").glob("*.md")} - listed - {"index.md"}
    assert not missing, f"docs/index.md does not list {sorted(missing)}"


def test_the_page_on_configuration_names_groups_and_choices_that_exist() -> None:
    page = (ROOT / "docs/configuration.md").read_text("utf-8").split("## Groups")[1].split("## ")[0]
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) > 10
    for _, groups, _, choices, _ in rows:
        folders = [ROOT / "configs" / name for name in re.findall(r"`([\w/]+)`", groups)]
        assert all(folder.is_dir() for folder in folders), groups
        for choice in re.findall(r"`([\w/]+)`", choices):
            found = [folder for folder in folders if (folder / f"{choice}.yaml").is_file()]
            assert found, f"{groups.strip()}: no file for {choice}"


def test_architecture_lists_the_rooms_in_their_order_and_draws_arrows_to_earlier_ones() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    assert tuple(re.findall(r"^\| `(\w+)` \|", page, re.M)) == ROOMS
    chains = [line.split(" --> ") for line in map(str.strip, page.splitlines()) if " --> " in line]
    arrows = [pair for chain in chains for pair in zip(chain, chain[1:], strict=False) if set(pair) <= set(ROOMS)]
    upwards = [f"{a} --> {b}" for a, b in arrows if ROOMS.index(a) < ROOMS.index(b)]
    assert len(arrows) >= 6 and not upwards, upwards


def test_architecture_names_modules_that_exist() -> None:
    names = set(re.findall(r"\bhmr4d(?:\.\w+)+", (ROOT / "docs" / "architecture.md").read_text("utf-8")))
    places = {name: ROOT / name.replace(".", "/") for name in names}
    missing = sorted(n for n, place in places.items() if not (place.is_dir() or place.with_suffix(".py").is_file()))
    assert len(names) > 15 and not missing, missing

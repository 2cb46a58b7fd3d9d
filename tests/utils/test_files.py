"""Files that are whole or absent, and the progress bar."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from hmr4d.utils.files import atomic_path, file_hash, file_stem, is_shown, write_json, write_text
from hmr4d.utils.progress import progress


def test_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "note.txt"
    write_text(path, "schöne Bewegung\n")
    assert path.read_text(encoding="utf-8") == "schöne Bewegung\n"
    assert [p.name for p in path.parent.iterdir()] == ["note.txt"]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError, match="power cut"), atomic_path(path) as temporary:
        temporary.write_text("half a no")
        raise RuntimeError("power cut")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["note.txt"]


def test_nothing_appears_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "motion.npz"
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"1")
        assert not path.exists()
        assert temporary.suffix == ".npz", "writers that look at the suffix see the right one"
        assert temporary.parent == path.parent, "on the same disk, so that the rename is one step"
    assert path.read_bytes() == b"1"


def test_permissions_are_those_of_an_ordinary_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    modes = {stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ("a", "b")}
    assert len(modes) == 1


def test_json_is_readable(tmp_path: Path) -> None:
    write_json(tmp_path / "card.json", {"fps": 20.0, "text": "größer"})
    text = (tmp_path / "card.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"fps": 20.0, "text": "größer"}
    assert "größer" in text
    assert text.endswith("}\n")


def test_no_bar_without_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    assert list(progress(range(3), "counting")) == [0, 1, 2]
    out, err = capfd.readouterr()
    assert out == ""
    assert err == ""


def test_file_hash(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000  # more than one block
    (tmp_path / "weights").write_bytes(content)
    assert file_hash(tmp_path / "weights") == hashlib.sha256(content).hexdigest()


def test_an_error_leaves_no_folder_behind(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    for folder in ("new/deep", "old", "old/new"):
        with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / folder / "motion.npz") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt
    assert [p.name for p in tmp_path.rglob("*")] == ["old"]


@pytest.mark.parametrize("name", ["走る", "ключи 1", "Take_003.final", "a-b c", "é", "e\u0301", "x" * 150])
def test_names_of_every_script_stay_whole(name: str) -> None:
    assert file_stem(name) == name


def test_different_names_give_different_safe_files(tmp_path: Path) -> None:
    names = [
        "a/b",
        "a:b",
        "a\\b",
        "..",
        ".",
        "",
        " ",
        "-x",
        ".x",
        "x.",
        "a\nb",
        "a\x00b",
        "x" * 300,
        "x" * 301,
        "走" * 99,
        "走" * 98 + "る",
        "a\udce9",
        "a*b?",
        "a_b",
    ]
    stems = [file_stem(name) for name in names]
    assert len(set(stems)) == len(names)
    for stem in stems:
        assert len(stem.encode()) <= 150 and stem[0] not in ".-"
        write_text(tmp_path / f"{stem}_overlay.txt", "x")
    assert len(list(tmp_path.iterdir())) == len(names)


def test_hidden_places_are_known(tmp_path: Path) -> None:
    shown = {n: is_shown(tmp_path / n, tmp_path) for n in ("a.bvh", "._a.bvh", ".git/a.bvh", "__MACOSX/a.bvh", "b/c.d")}
    assert [name for name, is_there in shown.items() if is_there] == ["a.bvh", "b/c.d"]


def test_json_with_half_a_surrogate_pair_is_written_and_read_back(tmp_path: Path) -> None:
    value = {"text": "é \ud800 \\ud800", "\udfff": 1}
    write_json(tmp_path / "x.json", value)
    assert json.loads((tmp_path / "x.json").read_text("utf-8")) == value


def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    for place in ("a/x.txt", "a/b/x.txt"):
        with pytest.raises(NotADirectoryError, match="is no folder, or lies in a file"):
            write_text(tmp_path / place, "y")
    assert (tmp_path / "a").read_text() == "x"

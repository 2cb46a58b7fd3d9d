"""Users' text files: encodings, and keys that are given twice."""

from pathlib import Path

import pytest

from hmr4d.utils.text_files import TextError, load_unique_json, load_unique_yaml, printable, read_text, read_yaml


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_of_every_marked_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("Füße 走る".encode(encoding))
    assert read_text(path) == "Füße 走る"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("one\ncafé".encode("latin-1"), r"a\.txt is not UTF-8 text: byte 0xe9 in line 2\. Save it as UTF-8"),
        (b"\xff\xfea", r"a\.txt starts as UTF-16 text but has other bytes later"),
    ],
)
def test_other_bytes_are_refused_with_file_and_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(TextError, match=message):
        read_text(path)


def test_yaml_keys_that_are_given_twice_are_refused_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for text, message in (
        ("a: 1\nb: 2\na: 3\n", r"a\.yaml, line 3: key 'a' is given twice, in lines 1 and 3"),
        ("a:\n  b: 1\n  b: 1\n", r"line 3: key 'b' is given twice"),
        ("- {c: 1, c: 2}\n", r"line 1: key 'c' is given twice"),
        ("a: [1\n", r"a\.yaml is no YAML"),
        ("? [1]\n: 2\n? {}\n: 3\n", r"a\.yaml"),
    ):
        path.write_text(text)
        with pytest.raises(TextError, match=message):
            read_yaml(path)


def test_yaml_that_is_right_stays_what_it_was() -> None:
    text = "base: &base {a: 1, b: 2}\nother:\n  <<: *base\n  a: 3\nlist: [1, 1]\n"
    assert load_unique_yaml(text, "x") == {"base": {"a": 1, "b": 2}, "other": {"a": 3, "b": 2}, "list": [1, 1]}


def test_json_keys_that_are_given_twice_are_refused_with_file_and_line() -> None:
    assert load_unique_json('{"a": {"b": 1}, "b": [2]}', "x") == {"a": {"b": 1}, "b": [2]}
    with pytest.raises(TextError, match=r"c\.json, line 3: key 'é' is given twice"):
        load_unique_json('{\n"é": 1,\n"é": 2}', "c.json")
    with pytest.raises(TextError, match=r"c\.json is no JSON"):
        load_unique_json("{", "c.json")
    with pytest.raises(TextError, match=r"c\.json is no JSON"):
        load_unique_json("[" * 100_000, "c.json")


def test_control_characters_never_reach_the_terminal() -> None:
    assert printable("a\x00\x1b[31m走") == "a\\x00\\x1b[31m走"

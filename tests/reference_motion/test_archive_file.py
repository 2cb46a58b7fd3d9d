"""Archives: read whole, written beside, nothing lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hmr4d.reference_motion.archive_file import check_new_archive, portable, read_archive, write_archive


def saved(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")
    return path


def test_paths_start_at_the_nearest_folder_with_a_readme(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("")
    entries = [{"motion_path": "m/a.pt"}, {"motion_path": ""}, {}, {"motion_path": str(tmp_path / "b.pt")}]
    archive = read_archive(saved(tmp_path / "meta" / "deep" / "a.json", entries))
    paths = [archive.path_of(index, "motion_path") for index in range(4)]
    assert paths == [tmp_path / "m/a.pt", None, None, tmp_path / "b.pt"]


def test_paths_start_at_the_own_folder_without_a_readme(tmp_path: Path) -> None:
    archive = read_archive(saved(tmp_path / "meta" / "a.json", [{"motion_path": "a.pt"}]))
    assert archive.path_of(0, "motion_path") == tmp_path / "meta" / "a.pt"


def test_every_entry_gets_a_file_name_of_its_own_whatever_its_id_is(tmp_path: Path) -> None:
    entries = [
        {"id": 6}, {"id": "6"}, {"global_id": "6_0", "id": 6}, {"id": "a/../b"},
        {"id": None, "motion_path": "x/clip.pt"},
        {"id": [1, {"k": 2}]}, {"id": ""}, {}, 7, None, {"id": "Walk"}, {"id": "walk"}, {"id": 1.5},
        {"id": "走る" * 90},
    ]  # fmt: skip
    archive = read_archive(saved(tmp_path / "a.json", entries))
    names = archive.names
    assert len({name.casefold() for name in names}) == len(entries)
    assert all(name and "/" not in name and len(name.encode()) < 160 for name in names)
    assert (names[2], names[4]) == ("6_0", "clip")
    assert archive.ids[:3] == (6, "6", "6_0")
    assert archive.handles[0] != archive.handles[1]


def test_a_new_archive_keeps_unknown_keys_and_unusable_entries(tmp_path: Path) -> None:
    entries = [{"id": 1, "extra": {"deep": [1, None]}, "motion_path": "a.pt"}, "no object", None]
    archive = read_archive(saved(tmp_path / "a.json", entries))
    write_archive(archive, archive.entries, tmp_path / "b.json")
    assert json.loads((tmp_path / "b.json").read_text("utf-8")) == entries


def test_paths_still_name_the_same_files_in_an_archive_of_another_root(tmp_path: Path) -> None:
    entries = [{"motion_path": "m/a.pt", "prompt_wanvideot5_embed_path": "t5/a.pt", "title": "m/a.pt", "video_path": 3}]
    archive = read_archive(saved(tmp_path / "old" / "a.json", entries))
    (tmp_path / "README.md").write_text("")  # root of the new one only: the old archive has been read
    write_archive(archive, archive.entries, tmp_path / "new" / "b.json")
    written = json.loads((tmp_path / "new" / "b.json").read_text("utf-8"))[0]
    assert written["motion_path"] == "old/m/a.pt" and written["prompt_wanvideot5_embed_path"] == "old/t5/a.pt"
    assert written["title"] == "m/a.pt" and written["video_path"] == 3


def test_the_input_archive_is_never_overwritten(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.json", [{"id": 1}])
    archive = read_archive(path)
    (tmp_path / "link.json").symlink_to(path)
    for out in (path, tmp_path / "link.json"):
        with pytest.raises(ValueError, match="never overwritten"):
            write_archive(archive, archive.entries, out)
    assert json.loads(path.read_text()) == [{"id": 1}]


def test_other_files_are_not_replaced_but_an_earlier_result_is(tmp_path: Path) -> None:
    archive = read_archive(saved(tmp_path / "a.json", [{"id": 1}, {"id": 2}]))
    for content in ([{"id": 1}], {"id": 1}, [{"id": 1}, {"id": "2"}]):
        with pytest.raises(ValueError, match=r"exists and (contains other entries|is not an archive)"):
            check_new_archive(archive, saved(tmp_path / "b.json", content))
    check_new_archive(archive, saved(tmp_path / "b.json", [{"id": 1, "use_ref_motion": True}, {"id": 2}]))


@pytest.mark.parametrize(
    ("text", "message"), [("{", "no JSON"), ('{"a": 1}', "JSON list"), ('[{"id": 1, "id": 2}]', "given twice")]
)
def test_files_that_are_no_archive_are_refused_in_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_archive(tmp_path / "a.json")


def test_a_faulty_path_affects_its_entry_alone(tmp_path: Path) -> None:
    archive = read_archive(saved(tmp_path / "a.json", [{"motion_path": 3}, 5, {"motion_path": "a\0b"}]))
    for index in range(3):
        with pytest.raises(ValueError, match="expected"):
            archive.path_of(index, "motion_path")


def test_paths_below_the_root_are_written_relative(tmp_path: Path) -> None:
    assert portable(tmp_path / "a" / "b.mp4", tmp_path) == "a/b.mp4"
    assert portable(tmp_path.parent / "b.mp4", tmp_path) == str(tmp_path.parent / "b.mp4")


def test_files_next_to_an_archive_are_found_whatever_readme_lies_above(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("root")
    folder = tmp_path / "motions"
    folder.mkdir()
    for name in ("beside.pt", "both.pt", "../both.pt"):
        (folder / name).write_text("")
    entries = [{"motion_path": name} for name in ("beside.pt", "both.pt", "gone.pt", "motions/beside.pt")]
    (folder / "a.json").write_text(json.dumps(entries))
    archive = read_archive(folder / "a.json")
    wanted = [folder / "beside.pt", tmp_path / "both.pt", tmp_path / "gone.pt", folder / "beside.pt"]
    assert [archive.path_of(number, "motion_path") for number in range(4)] == wanted
    write_archive(archive, archive.entries, tmp_path / "other" / "b.json")
    again = read_archive(tmp_path / "other" / "b.json")
    assert [again.path_of(number, "motion_path") for number in range(4)] == wanted

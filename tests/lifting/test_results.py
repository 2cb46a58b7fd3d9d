"""Names of the files of lifting."""

from __future__ import annotations

from hmr4d.lifting.results import result_names


def test_people_of_one_file_never_share_a_name() -> None:
    names = result_names("two", ["張三", "李四", "A", "a", "x/y", "x:y"], alone=False)
    assert len({name.casefold() for name in names}) == 6 and names[:4] == [
        "two_p張三",
        "two_p李四",
        "two_pA",
        "two_pa-2",
    ]
    assert result_names("two", ["7"], alone=True) == ["two"]

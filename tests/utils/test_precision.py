"""Geometry under autocast and on a device that is not the CPU."""

import pytest
import torch

from hmr4d.geometry.cameras import orbit_camera
from hmr4d.motion.canonical import align_to_floor
from hmr4d.representation.views import OrthographicViews
from hmr4d.utils.precision import exact_float32, full_precision, training_precision


def test_triangulation_keeps_its_precision_under_autocast() -> None:
    T_w2c = orbit_camera(torch.tensor([0.0, 1.5]), torch.tensor(0.1), torch.tensor(4.5))[None]
    views = OrthographicViews(T_w2c)
    local = torch.rand(1, 5, 23, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        back = views.lift(views.reproject(local))
    assert back.dtype == torch.float32
    torch.testing.assert_close(back, local, atol=1e-5, rtol=0)


def test_autocast_is_on_again_afterwards() -> None:
    product = full_precision(lambda x: x @ x)
    x = torch.rand(3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert product(x).dtype == torch.float32
        assert (x @ x).dtype == torch.bfloat16


def test_lengths_on_the_cpu_serve_motion_on_another_device() -> None:
    motion, lengths = torch.empty(2, 30, 22, 3, device="meta"), torch.tensor([30, 20])
    moved = align_to_floor(motion, lengths)
    assert moved.device.type == "meta"
    assert moved.shape == motion.shape


def test_exact_float32_switches_shortcuts_off_and_back() -> None:
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    original = torch.get_float32_matmul_precision()
    x = torch.rand(3, 3)
    try:
        torch.set_float32_matmul_precision("high")
        before = [backend.fp32_precision for backend in backends]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with exact_float32("cpu"):
                assert [backend.fp32_precision for backend in backends] == ["ieee"] * 3
                assert (x @ x).dtype == torch.float32
            assert (x @ x).dtype == torch.bfloat16
        with pytest.raises(KeyError), exact_float32("cpu"):
            raise KeyError
        assert [backend.fp32_precision for backend in backends] == before
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(original)


@pytest.mark.parametrize(
    ("accelerator", "capabilities", "gpu", "expected"),
    [
        ("auto", {"avx2": True, "avx512_bf16": False, "amx_bf16": False}, False, "32-true"),
        ("auto", {"avx512_bf16": True}, False, "bf16-mixed"),
        ("cpu", {"amx_bf16": True}, True, "bf16-mixed"),
        ("cpu", {"avx2": True}, True, "32-true"),
        ("gpu", {"avx2": True}, True, "bf16-mixed"),
        ("mps", {"avx512_bf16": True}, False, "32-true"),
        ("cpu", {"bf16": True}, False, "bf16-mixed"),
    ],
)
def test_bfloat16_trains_only_where_the_hardware_has_it(
    monkeypatch: pytest.MonkeyPatch, accelerator: str, capabilities: dict[str, bool], gpu: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert training_precision(accelerator) == expected
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    if gpu and accelerator != "cpu":
        assert training_precision(accelerator) == "32-true"

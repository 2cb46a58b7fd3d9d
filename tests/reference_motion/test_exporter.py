"""The scripts for SMPLest-X: put in and taken out, and run in a folder that stands in for it."""

from __future__ import annotations

import importlib.util
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import imageio_ffmpeg
import numpy as np
import pytest

from hmr4d.cli.main import main
from hmr4d.reference_motion.adapters import read_clip
from hmr4d.reference_motion.exporter import SCRIPTS, install
from tests.golden.vectors import assert_close, golden_file

# What the scripts call of SMPLest-X and its detector, so small that the body is the same in every picture.
STAND_IN = {
    **{f"{package}/__init__.py": "" for package in ("human_models", "main", "utils")},
    "human_models/human_models.py": "class SMPLX:\n    def __init__(self, path):\n        self.path = path\n",
    "main/config.py": """
from types import SimpleNamespace as S
class Config(S):
    @classmethod
    def load_config(cls, path):
        model = S(human_model_path='x', input_img_shape=(64, 48), input_body_shape=(256, 192),
                  focal=(5000.0, 5000.0), princpt=(96.0, 128.0))
        return cls(model=model, data=S(bbox_ratio=1.25))
    def update_config(self, new):
        self.model.pretrained_model_path = new['model']['pretrained_model_path']
    def prepare_log(self):
        pass
""",
    "main/base.py": """
import torch
class Tester:
    def __init__(self, config):
        assert config.model.pretrained_model_path == 'pretrained_models/tiny/tiny.pth.tar'
    def _make_model(self):
        self.model = self.forward
    def forward(self, inputs, targets, meta, mode):
        assert inputs['img'].shape == (1, 3, 64, 48) and mode == 'test'
        return {'smplx_root_pose': torch.tensor([[3.1, 0.0, 0.0]]), 'smplx_body_pose': torch.full((1, 63), 0.1),
                'smplx_shape': torch.zeros(1, 10), 'cam_trans': torch.tensor([[0.1, 0.2, 30.0]])}
""",
    "utils/data_utils.py": """
import numpy as np
from PIL import Image
def load_img(path):
    return np.asarray(Image.open(path).convert('RGB')).astype(np.float32)
def process_bbox(bbox, img_width, img_height, input_img_shape, ratio):
    return np.array([bbox[0], bbox[1], bbox[2] * ratio, bbox[3] * ratio], np.float32)
def generate_patch_image(cvimg, bbox, scale, rot, do_flip, out_shape):
    return np.zeros((*out_shape, 3), np.float32), None, None
""",
    "ultralytics.py": """
import torch
from types import SimpleNamespace as S
class YOLO:
    calls = 0
    def __init__(self, path):
        pass
    def predict(self, picture, **settings):
        YOLO.calls += 1
        x = 2.0 * YOLO.calls
        boxes = [[40 + x, 10, 80 + x, 90], [5, 5, 20, 30]]
        if YOLO.calls in (3, 4):
            boxes = boxes[1:]  # the person is hidden, and the other one far away
        if NOBODY:
            boxes = []
        return [S(boxes=S(xyxy=torch.tensor(boxes).reshape(-1, 4)))]
NOBODY = False
""",
    "scripts/inference.sh": "echo theirs\n",
}


def write_video(path: Path, num_pictures: int) -> None:
    """A gray video of 160 x 96 pixels at 16 pictures a second."""
    writer = imageio_ffmpeg.write_frames(str(path), (160, 96), fps=16, macro_block_size=2)
    writer.send(None)
    for _ in range(num_pictures):
        writer.send(bytes([128]) * (160 * 96 * 3))
    writer.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in STAND_IN.items():
        path = tmp_path / "smplestx" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path / "smplestx"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("export_parameters", SCRIPTS / "export_parameters.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_fixed_camera_for_all_crops_as_published() -> None:
    with np.load(golden_file("reference_motion/retarget_cam.npz")) as data:
        v = {name: data[name] for name in data.files}
    transl, focal = script().retarget_camera(
        v["transl_raw"], v["focal_xy_raw"], v["princpt_raw"], float(v["width"]), float(v["height"])
    )
    scale = np.abs(v["transl"]).max(1, keepdims=True).clip(1)  # a focal length of zero puts its row a thousand km away
    assert_close("fixed camera", transl / scale, v["transl"] / scale, 1e-5)
    assert_close("focal length", focal, v["focal_ref_xy"], 1e-5)
    with pytest.raises(ValueError, match=r"expected \(T, 3\)"):
        script().retarget_camera(v["transl"][:3], v["focal_xy_raw"], v["princpt_raw"], 10, 10)


def test_scripts_can_be_installed_twice_and_uninstalled(folder: Path) -> None:
    for _ in range(2):
        assert main(["reference", "install-exporter", str(folder)]) == 0
    assert (folder / "scripts" / "inference.sh.before_hmr4d").read_text() == "echo theirs\n"
    assert main(["reference", "install-exporter", str(folder), "--uninstall"]) == 0
    assert (folder / "scripts" / "inference.sh").read_text() == "echo theirs\n"
    assert not (folder / "main" / "export_parameters.py").exists()
    assert main(["reference", "install-exporter", str(folder), "--uninstall"]) == 2


def test_files_changed_by_others_are_kept(folder: Path, tmp_path: Path) -> None:
    install(folder)
    (folder / "scripts" / "inference.sh").write_text("echo mine\n")
    assert main(["reference", "install-exporter", str(folder)]) == 2
    assert main(["reference", "install-exporter", str(folder), "--uninstall"]) == 0
    assert (folder / "scripts" / "inference.sh").read_text() == "echo mine\n"
    with pytest.raises(FileNotFoundError, match="not a folder of SMPLest-X: it has no main/base.py"):
        install(tmp_path)


@pytest.fixture
def export(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., object]]:
    """Runs the script in the folder as its shell script would; its exit status or last words."""
    install(folder)
    (folder / "demo").mkdir()
    others = {name: module for name, module in sys.modules.items() if _is_stand_in(name)}  # such as tests/utils
    for name in others:
        del sys.modules[name]
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("FFMPEG", imageio_ffmpeg.get_ffmpeg_exe())

    def run(*words: str) -> object:
        path = folder / "main" / "export_parameters.py"
        monkeypatch.setattr(sys, "argv", [str(path), "--ckpt_name", "tiny", "--device", "cpu", *words])
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as stop:
            return stop.code
        return 0

    yield run
    for name in [name for name in sys.modules if _is_stand_in(name)]:
        del sys.modules[name]
    sys.modules.update(others)


def _is_stand_in(module: str) -> bool:
    """Whether a module is called as one of the packages of SMPLest-X."""
    return module.partition(".")[0] in ("human_models", "main", "utils", "ultralytics")


def test_the_exporter_writes_a_readable_file(
    folder: Path, export: Callable[..., object], caplog: pytest.LogCaptureFixture
) -> None:
    write_video(folder / "demo" / "clip.mp4", 12)
    with caplog.at_level("INFO"):
        assert export("--video", "demo/clip.mp4") == 0
    assert "the person is in 10 of 12 images, 16 per second" in caplog.text
    clip = read_clip(folder / "demo" / "clip_params.pt")
    assert (clip.system, clip.motion.fps, clip.motion.num_frames) == ("smplestx", 16.0, 12)
    assert any("2 missing frames were interpolated" in remark for remark in clip.remarks)
    assert clip.camera is not None and clip.camera.size == (160, 96) and clip.camera.K is not None
    assert float(clip.camera.K[0, 0]) == pytest.approx(5000 / 192 * 40 * 1.25, rel=1e-3)
    assert sorted(p.name for p in (folder / "demo").iterdir()) == ["clip.mp4", "clip_params.pt"]


def test_missing_person_and_missing_video_end_with_a_message_and_no_file(
    folder: Path, export: Callable[..., object]
) -> None:
    assert export("--video", "demo/clip.mp4") == "error: video not found: demo/clip.mp4"
    write_video(folder / "demo" / "clip.mp4", 4)
    detector = folder / "ultralytics.py"
    detector.write_text(detector.read_text().replace("NOBODY = False", "NOBODY = True"))
    said = export("--video", "demo/clip.mp4", "--fps", "8")
    assert str(said).startswith("error: demo/clip.mp4 shows no person")
    assert not (folder / "demo" / "clip_params.pt").exists()


@pytest.mark.parametrize(("words", "rest"), [(["30"], "--fps 30"), (["--person", "1"], "--person 1"), ([], "")])
def test_the_shell_script_takes_the_words_of_the_published_one(folder: Path, words: list[str], rest: str) -> None:
    install(folder)
    done = subprocess.run(
        ["sh", "scripts/inference.sh", "smplest_x_h", "clip.mp4", *words],
        cwd=folder,
        env={**os.environ, "PYTHON": "echo"},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = f"main/export_parameters.py --ckpt_name smplest_x_h --video demo/clip.mp4 {rest}"
    assert done.stdout.strip() == expected.strip()

"""The focal length that a file tells comes out in pixels; files that tell none give none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest
from PIL import Image

from hmr4d.detection.lens import focal_of_metadata
from hmr4d.visualization.pixels import to_pixels
from hmr4d.visualization.video_file import write_mp4


def test_exif_of_images_tells_the_lens(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 28
    Image.new("RGB", (360, 240)).save(tmp_path / "1.jpg", exif=exif)
    assert focal_of_metadata(tmp_path, (360, 240)) == pytest.approx(280, rel=1e-3)


def test_metadata_of_videos_tells_the_lens(tmp_path: Path) -> None:
    plain, told = tmp_path / "plain.mp4", tmp_path / "told.mov"
    write_mp4(plain, map(to_pixels, [Image.new("RGB", (96, 64))] * 3), fps=10, size=(96, 64))
    key = "com.apple.quicktime.camera.focal_length.35mm_equivalent"
    words = ["-metadata", f"{key}=26", "-metadata", "com.apple.quicktime.model=Phone 1"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(plain), *words, "-c", "copy"]
    subprocess.run([*command, "-movflags", "use_metadata_tags", str(told)], check=True)
    assert focal_of_metadata(plain, (96, 64)) is None
    assert focal_of_metadata(told, (1920, 1080)) == pytest.approx(26 / 43.267 * 2203, rel=1e-3)

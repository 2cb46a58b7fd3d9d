from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from hmr4d.motion.motion import Provenance
from hmr4d.visualization.contact_sheet import write_contact_sheet
from hmr4d.visualization.pixels import drawable, load_font
from tests.motions import as_motion


def test_one_row_per_motion(tmp_path, walk):
    path = tmp_path / "sheet.png"
    motions = [as_motion(walk, text="a walk"), as_motion(walk[:3], text="short " * 80)]
    write_contact_sheet(path, motions, frames_per_motion=5)
    sheet = Image.open(path)
    assert sheet.format == "PNG"
    pixels = np.asarray(sheet).astype(int)
    cells = pixels.reshape(2, pixels.shape[0] // 2, 5, pixels.shape[1] // 5, 3).transpose(0, 2, 1, 3, 4)
    color = (cells.max(axis=-1) - cells.min(axis=-1) > 70).sum(axis=(2, 3))
    assert (color[0] > 200).all()
    assert (color[1] > 200).tolist() == [True] * 3 + [False] * 2
    assert np.abs(cells[0, 0, 40:] - cells[0, 2, 40:]).mean() > 1


def test_errors_name_the_motion(tmp_path, walk):
    broken = walk.copy()
    broken[2, 3] = np.nan
    with pytest.raises(ValueError, match=r"Motion 1 \('b'\).*frame 2, joint 3"):
        write_contact_sheet(tmp_path / "s.png", [as_motion(walk, text="a"), as_motion(broken, text="b")])
    with pytest.raises(ValueError, match="empty"):
        write_contact_sheet(tmp_path / "s.png", [])
    with pytest.raises(ValueError, match="frames_per_motion"):
        write_contact_sheet(tmp_path / "s.png", [as_motion(walk)], frames_per_motion=0)
    assert not list(tmp_path.iterdir())


def test_captions_have_no_boxes(tmp_path, walk):
    font = load_font(15)
    box = bytes(font.getmask("\uffff"))
    assert bytes(font.getmask("ä")) == box  # the font lacks it
    assert drawable("Ein Bär läuft — größer → señor, 走る, 2²") == "Ein Bar lauft - grosser -> senor, ??, 22"
    assert all(bytes(font.getmask(c)) != box for c in drawable("".join(map(chr, range(32, 0x500)))))
    sheets = []
    for number, text in enumerate(["Bär", "Bar"]):
        write_contact_sheet(tmp_path / f"{number}.png", [as_motion(walk[:3], text=text)], frames_per_motion=1)
        sheets.append((tmp_path / f"{number}.png").read_bytes())
    assert sheets[0] == sheets[1]


def test_motions_of_the_same_text_are_told_apart_by_their_seeds(tmp_path, walk):
    def sheet(*seeds: int) -> bytes:
        motions = [replace(as_motion(walk[:3], text="a walk"), provenance=Provenance(seed=seed)) for seed in seeds]
        write_contact_sheet(tmp_path / "s.png", motions, frames_per_motion=1)
        return (tmp_path / "s.png").read_bytes()

    assert sheet(3) == sheet(4)
    assert sheet(3, 4) != sheet(3, 5)

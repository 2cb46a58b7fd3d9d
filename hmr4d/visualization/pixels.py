"""Images as packed pixels, and common colors.

During drawing, images are (H, W) 32-bit words: red, green, blue and one unused byte. Blending a word takes two
multiplications, a look-up table returns whole words, and the video encoder reads the bytes without conversion.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont

Pixels = NDArray[np.uint32]
Color = tuple[int, int, int]

INK = (44, 52, 66)
QUIET_INK = (122, 132, 148)
PAPER = (247, 248, 250)
FLOOR = (226, 231, 238)
OUTLINE = 1.5  # width in pixels at an image height of 512
LIGHT = np.array([-0.45, -0.65, 0.61])  # unit vector to the light: right, down, towards the viewer

_OUTER, _INNER = (
    np.uint32(0x00FF00FF),
    np.uint32(0x0000FF00),
)  # masks of the first and third channel and of the second channel
_WHOLE, BYTE, _COVERAGE = np.uint32(256), np.uint32(8), np.uint32(24)

_NO_CHARACTER = "\uffff"  # fonts draw a box for it
_LIKENESSES = {  # of characters that are no letter with a mark
    "ß": "ss", "Æ": "AE", "æ": "ae", "Œ": "OE", "œ": "oe", "Ø": "O", "ø": "o", "Đ": "D", "đ": "d", "Ł": "L", "ł": "l",
    "Þ": "Th", "þ": "th", "ð": "d", "ı": "i", "—": "-", "−": "-", "×": "x", "→": "->", "«": '"', "»": '"', "¿": "?",
}  # fmt: skip


def load_font(size: float) -> Any:
    """The font that Pillow ships; no system font is needed."""
    return ImageFont.load_default(size)


def drawable(text: str) -> str:
    """The text in characters that `load_font` has: é as e, ß as ss; a question mark where none is alike."""
    return "".join(c if _has_glyph(c) else _likeness(c) for c in text)


@lru_cache(maxsize=4096)
def _has_glyph(character: str) -> bool:
    font = load_font(12)
    return bytes(font.getmask(character)) != bytes(font.getmask(_NO_CHARACTER))


def _likeness(character: str) -> str:
    parts = _LIKENESSES.get(character) or unicodedata.normalize("NFKD", character)
    return "".join(c for c in parts if not unicodedata.combining(c) and _has_glyph(c)) or "?"


def to_pixels(picture: Image.Image) -> Pixels:
    """(H, W) packed pixels of an RGB image."""
    return np.insert(np.asarray(picture), 3, 0, axis=-1).view(np.uint32)[..., 0]


def to_image(pixels: Pixels) -> Image.Image:
    """RGB image of packed pixels (H, W)."""
    return Image.fromarray(np.ascontiguousarray(pixels.view(np.uint8).reshape(*pixels.shape, 4)[..., :3]))


def color_word(color: Color) -> np.uint32:
    """The packed pixel of one color."""
    return np.array([*color, 0], np.uint8).view(np.uint32)[0]


def mix(pixels: Pixels, word: np.uint32, strength: NDArray[np.uint32]) -> Pixels:
    """Packed pixels blended with one color; `strength` is in 256ths. Two channels are blended at a time, with eight
    free bits above each."""
    rest = _WHOLE - strength
    outer = (pixels & _OUTER) * rest + (word & _OUTER) * strength
    inner = (pixels & _INNER) * rest + (word & _INNER) * strength
    return (outer >> BYTE & _OUTER) | (inner >> BYTE & _INNER)


def over(pixels: Pixels, layer: Pixels) -> Pixels:
    """Packed pixels with a layer on top; its colors are weighted by coverage, its fourth byte (in 255ths)."""
    rest = _WHOLE - (layer >> _COVERAGE)
    return layer + (((pixels & _OUTER) * rest >> BYTE & _OUTER) | ((pixels & _INNER) * rest >> BYTE & _INNER))


def lit_color(lit: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Weights (...) of the surface color and of white, for cosines (...) between the surface normal and the light."""
    shine = np.maximum(lit - 0.72, 0)
    return np.maximum(0.66 + 0.34 * lit - shine, 0), shine


def covered_words(layer: NDArray[np.floating], cover: NDArray[np.floating]) -> Pixels:
    """Packed pixels (...) of weighted color (..., 3) and coverage (...). Colors are limited to the coverage, so sums
    fit into a byte."""
    alpha = np.floor(cover * 255)[..., None]
    words = np.concatenate([np.minimum(layer, alpha), alpha], axis=-1).astype(np.uint8)
    return words.view(np.uint32)[..., 0]

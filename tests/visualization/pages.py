"""Pages of the HTML viewer, read back by a decoder of its own, and motions to put on them."""

import base64
import json
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from hmr4d.visualization.html_viewer import ImageViews

NASTY = "walks </script><script>alert(1)</script> & \"quotes\" <!-- 'x' @@DATA@@ \u2028 走る"


class Page(HTMLParser):
    """Collects elements, their attributes, and the text inside scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] == "script" and self.cdata_elem:
            self.scripts[-1] += data


class Saved:
    """What a page holds."""

    def __init__(self, path: Path) -> None:
        page = Page(path.read_text(encoding="utf-8"))
        self.page, self.data = page, json.loads(page.scripts[0])
        self._bytes = np.frombuffer(zlib.decompress(base64.b64decode(page.scripts[1])), np.uint8)

    def numbers(self, entry: dict) -> np.ndarray:
        """(rows, columns): four bytes of each number, sign in the lowest bit, running sums where asked for."""
        size = entry["rows"] * entry["columns"]
        planes = self._bytes[entry["at"] : entry["at"] + 4 * size].reshape(4, entry["columns"], entry["rows"])
        folded = sum(plane.astype(np.int64) << 8 * p for p, plane in enumerate(planes)).T
        values = np.where(folded % 2 == 1, -(folded // 2) - 1, folded // 2)
        values = values.cumsum(axis=0) if entry["delta"] else values
        return values * entry.get("step", 1)

    def joints(self, number: int = 0) -> np.ndarray:
        entry = self.data["motions"][number]["joints"]
        return self.numbers(entry).reshape(entry["rows"], -1, 3)


def turned(joints: np.ndarray, angle: float, shift: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return joints @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T + shift


def ring(joints: np.ndarray, num_views: int = 3, size: tuple[int, int] = (640, 480)) -> ImageViews:
    """Cameras around the middle of a motion that look at it, and what they see."""
    K = np.array([[400.0, 0, size[0] / 2], [0, 400, size[1] / 2], [0, 0, 1]])
    middle, transforms, pictures = joints[:, 0].mean(axis=0), [], []
    for angle in np.arange(num_views) * 2 * np.pi / num_views + 0.3:
        place = middle + np.array([3.5 * np.sin(angle), 1.0, 3.5 * np.cos(angle)])
        z = (middle - place) / np.linalg.norm(middle - place)
        x = np.cross(z, [0, 1, 0])
        x /= np.linalg.norm(x)
        R = np.stack([x, np.cross(z, x), z])
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = R, -R @ place
        seen = (joints @ R.T + T[:3, 3]) @ K.T
        transforms.append(T)
        pictures.append(seen[..., :2] / seen[..., 2:])
    return ImageViews(np.stack(pictures), size=size, T_w2c=np.stack(transforms), K=K)

import base64
import io
import json
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hmr4d.body.skeleton import SMPL22
from hmr4d.visualization.html_viewer import encode_joints, write_html

sys.path.insert(0, str(Path(__file__).parent))
from browser import Browser, find_chromium

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


def decode(motion: dict) -> np.ndarray:
    raw = base64.b64decode(motion["joints"])
    if motion["encoding"] == "float32":
        return np.frombuffer(raw, "<f4").reshape(motion["frames"], -1, 3)
    return np.frombuffer(raw, "<i2").reshape(motion["frames"], -1, 3) * motion["scale"] + motion["offset"]


@pytest.mark.parametrize("span", [1.0, 10.0, 25.0, 80.0])
def test_joints_are_stored_to_half_a_millimetre(walk, span):
    moved = (walk + np.linspace(-span, span, len(walk), dtype=np.float32)[:, None, None] + 5).astype(np.float32)
    coded = json.loads(json.dumps(encode_joints(moved)))
    assert np.abs(decode(coded) - moved).max() < 0.0005
    assert coded["encoding"] == ("float32" if span > 60 else "int16")


def test_page_is_whole_and_asks_for_nothing(tmp_path, walk):
    path = tmp_path / "m.html"
    write_html(path, [(walk, NASTY), (walk[:1], "")], fps=20, skeleton=SMPL22, title="<My> title & @@SCRIPT@@")
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.scripts) == 2
    data = json.loads(page.scripts[0])
    assert [m["caption"] for m in data["motions"]] == [NASTY, ""]
    assert [m["frames"] for m in data["motions"]] == [len(walk), 1]
    assert (data["fps"], data["skeleton"]) == (20.0, "smpl22")
    assert "<title>&lt;My&gt; title &amp; @@SCRIPT@@</title>" in text
    links = [v for _, attributes in page.elements for k, v in attributes.items() if k in ("src", "href")]
    assert links == ["data:,"]
    assert "http://" not in text and "https://" not in text and "@import" not in text and "url(" not in text
    assert [p.name for p in tmp_path.iterdir()] == ["m.html"]


def test_errors_name_the_motion(tmp_path, walk):
    with pytest.raises(ValueError, match="empty"):
        write_html(tmp_path / "m.html", [], fps=20, skeleton=SMPL22, title="")
    walk[4, 21, 2] = np.nan
    with pytest.raises(ValueError, match=r"Motion 0 \('a'\).*frame 4, joint 21 \(right_wrist\)"):
        write_html(tmp_path / "m.html", [(walk, "a")], fps=20, skeleton=SMPL22, title="")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def browser():
    executable = find_chromium()
    if executable is None:
        pytest.skip("chromium is not on PATH (apt-get install chromium)")
    with Browser(executable) as running:
        yield running


def picture(browser: Browser) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(browser.screenshot())).convert("RGB")).astype(int)


def test_page_plays_in_a_real_browser(tmp_path, walk, browser):
    path = tmp_path / "motion.html"
    write_html(path, [(walk, NASTY), (walk[:12] * [-1, 1, 1], "second")], fps=20, skeleton=SMPL22, title="test")
    browser.open(path, "#paused")
    js = browser.evaluate
    assert js("document.documentElement.dataset.ready") == "1"
    assert js("window.hmr4d.numFrames") == len(walk)
    assert js("document.getElementById('caption').textContent") == NASTY
    assert js("window.hmr4d.motions.map((m) => m.numFrames)") == [len(walk), 12]

    stored = np.array(js("Array.from(window.hmr4d.motions[0].joints)")).reshape(walk.shape)
    assert np.abs(stored - walk).max() < 0.0005

    # Not blank, and another frame is another picture.
    js("window.hmr4d.setTheme('light'); window.hmr4d.setFrame(0)")
    first = picture(browser)
    js("window.hmr4d.setFrame(12)")
    later = picture(browser)
    figure = np.s_[100:440, 150:490]
    assert first[figure].std() > 8
    assert (np.abs(first[figure] - later[figure]).max(axis=-1) > 40).sum() > 500

    # Seen from the front, the left hand is on the viewer's right and blue, the right hand on the left and orange.
    js("window.hmr4d.setFrame(0); window.hmr4d.setView(0, 0.1); window.hmr4d.render()")
    elbow, wrist = SMPL22.index("left_elbow"), SMPL22.index("left_wrist")
    places = {}
    for side, shift in (("left", 0), ("right", 1)):
        a, b = (js(f"window.hmr4d.project(0, {j + shift})") for j in (elbow, wrist))
        places[side] = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
    assert places["left"][0] > js("document.getElementById('view').width") / 2 > places["right"][0]
    red, _, blue, _ = js(f"window.hmr4d.pixel({places['left'][0]}, {places['left'][1]})")
    assert blue > red + 60
    red, _, blue, _ = js(f"window.hmr4d.pixel({places['right'][0]}, {places['right'][1]})")
    assert red > blue + 60

    # Playing moves on; the controls work by keyboard.
    js("window.hmr4d.play()")
    js("new Promise((done) => setTimeout(done, 600))")
    assert js("window.hmr4d.frame") > 0
    js("window.hmr4d.pause(); window.hmr4d.setFrame(5)")
    js("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}))")
    assert js("window.hmr4d.frame") == 6
    js("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowDown', bubbles: true}))")
    assert js("window.hmr4d.numFrames") == 12
    assert js("document.getElementById('caption').textContent") == "second"
    js("window.hmr4d.choose(0, true); window.hmr4d.setTheme('dark'); window.hmr4d.setFrame(20)")
    assert js("window.hmr4d.numFrames") == len(walk)
    assert picture(browser)[:60, :60].mean() < 80

    assert browser.requests == [path.resolve().as_uri()] or browser.requests == [path.resolve().as_uri(), "data:,"]
    assert browser.errors == []

"""Pages of the HTML viewer, played in a real headless Chromium."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hmr4d.body.skeleton import SMPL22
from hmr4d.motion.skinning import drive_body
from hmr4d.visualization.html_viewer import PageMotion, write_comparison, write_html
from tests.motions import as_motion

sys.path.insert(0, str(Path(__file__).parent))
from browser import Browser, find_chromium
from pages import NASTY, Saved, ring, turned


@pytest.fixture(scope="module")
def chromium():
    executable = find_chromium()
    if executable is None:
        pytest.skip("chromium is not on PATH (apt-get install chromium)")
    with Browser(executable, seconds=300.0) as running:
        yield running


@pytest.fixture
def browser(chromium):
    chromium.requests.clear()
    chromium.errors.clear()
    chromium.call("Emulation.clearDeviceMetricsOverride")
    yield chromium
    assert chromium.errors == []


def picture(browser: Browser) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(browser.screenshot())).convert("RGB")).astype(int)


def press(browser: Browser, key: str) -> None:
    browser.evaluate(f"document.body.dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}', bubbles: true}}))")


def differing(one: np.ndarray, other: np.ndarray) -> int:
    """Pixels that are clearly different."""
    return int((np.abs(one - other).max(axis=-1) > 40).sum())


def test_page_plays_in_a_real_browser(tmp_path, walk, browser):
    path = tmp_path / "motion.html"
    motions = [as_motion(walk, text=NASTY), as_motion(walk[:12] * [-1, 1, 1], text="second")]
    write_html(path, motions, title="test", mesh=False)
    browser.open(path, "#paused")
    js = browser.evaluate
    assert js("document.documentElement.dataset.ready") == "1"
    assert js("window.hmr4d.numFrames") == len(walk)
    assert js("document.getElementById('caption').textContent") == NASTY
    assert js("window.hmr4d.motions.map((m) => m.numFrames)") == [len(walk), 12]
    stored = np.array(js("Array.from(window.hmr4d.motions[0].joints)")).reshape(walk.shape)
    assert np.abs(stored - walk).max() < 0.0003

    # Not blank, and another frame is another picture.
    js("window.hmr4d.setTheme('light'); window.hmr4d.setFrame(0)")
    first = picture(browser)
    js("window.hmr4d.setFrame(12)")
    assert first[60:300, 150:490].std() > 8
    assert differing(first[60:300, 150:490], picture(browser)[60:300, 150:490]) > 300

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
    press(browser, " ")
    js("new Promise((done) => setTimeout(done, 500))")
    assert js("window.hmr4d.frame") > 0
    press(browser, " ")
    js("window.hmr4d.setFrame(5)")
    press(browser, "ArrowRight")
    assert js("window.hmr4d.frame") == 6
    press(browser, "ArrowDown")
    assert js("window.hmr4d.numFrames") == 12
    assert js("document.getElementById('caption').textContent") == "second"
    press(browser, "ArrowDown")  # all of them
    js("window.hmr4d.setTheme('dark'); window.hmr4d.setFrame(20)")
    assert js("window.hmr4d.numFrames") == len(walk)
    assert len(js("window.hmr4d.panels")) == 2
    assert js("document.getElementById('labels').children[0].textContent") == "1. " + NASTY
    assert picture(browser)[:60, :60].mean() < 80
    assert browser.requests == [path.resolve().as_uri() + "#paused"] or set(browser.requests) <= {
        path.resolve().as_uri(),
        "data:,",
    }


def test_the_body_is_drawn_and_moves_with_the_motion(tmp_path, walk, browser):
    path = tmp_path / "m.html"
    joints = turned(walk, np.pi, (1, 0, 2)).astype(np.float32)  # facing away
    write_html(path, [as_motion(joints, text="away")])
    browser.open(path, "#paused")
    js = browser.evaluate
    assert (js("hmr4d.painter"), js("hmr4d.mode")) == ("webgl", "mesh")
    frames = [0, 7, 21]
    meshes = list(drive_body(as_motion(joints)).meshes())
    lift = Saved(path).data["motions"][0]["body"]["lift"]
    js("hmr4d.setTheme('light'); hmr4d.setView(Math.PI, 0.1)")
    pictures = []
    for frame in frames:
        js(f"hmr4d.setFrame({frame})")
        seen = np.array(js("Array.from(hmr4d.skinned(0))")).reshape(-1, 3) - [0, lift, 0]
        assert np.abs(seen - meshes[frame].numpy()).max() < 0.003
        pictures.append(picture(browser))
    figure = np.s_[50:310, 200:440]
    assert all(differing(a[figure], b[figure]) > 300 for a, b in zip(pictures, pictures[1:], strict=False))

    # From its front: the hand on the viewer's right is blue, the other orange; all of it is between head and floor.
    js("hmr4d.setFrame(0)")
    left, right = (js(f"hmr4d.project(0, {SMPL22.index(f'{side}_elbow')})") for side in ("left", "right"))
    assert left[0] > right[0]
    red, _, blue, _ = js(f"hmr4d.pixel({left[0]}, {left[1]})")
    assert blue > red + 60
    red, _, blue, _ = js(f"hmr4d.pixel({right[0]}, {right[1]})")
    assert red > blue + 60
    head = js(f"hmr4d.project(0, {SMPL22.index('head')})")
    assert head[1] < js("hmr4d.project(0, 0)")[1]

    # Body, skeleton and both are three different pictures; the key goes round.
    looks = []
    for mode in ("mesh", "skeleton", "both"):
        assert js("hmr4d.mode") == mode == js("document.getElementById('mode').value")
        js("hmr4d.render()")
        looks.append(picture(browser)[figure])
        press(browser, "m")
    assert js("hmr4d.mode") == "mesh"
    assert all(differing(a, b) > 200 for a, b in ((looks[0], looks[1]), (looks[1], looks[2]), (looks[0], looks[2])))
    assert js("document.getElementById('drawn').hidden") is False


def test_panels_share_camera_and_timeline(tmp_path, walk, browser):
    """The same motion at 10 and at 20 frames a second, one of them elsewhere and facing away."""
    path = tmp_path / "m.html"
    slow = as_motion(turned(walk[::2], np.pi, (5, 0, 5)), text="slow", fps=10)
    rows = [("walks", [slow, as_motion(walk, text="fast")]), ("alone", [as_motion(walk[:10], text="one")])]
    write_comparison(path, rows)
    browser.open(path, "#paused")
    js = browser.evaluate
    js("hmr4d.setTheme('light'); hmr4d.setFrame(14)")
    assert js("document.getElementById('clock').textContent") == "0.70 / 1.50 s   frame 15 / 30"
    assert [p["motions"] for p in js("hmr4d.panels")] == [[0], [1]]
    a, b = (p["rect"] for p in js("hmr4d.panels"))
    assert a[2] == b[2] and a[0] + a[2] <= b[0] + 1
    labels = js("[...document.getElementById('labels').children].map((p) => p.textContent)")
    assert labels == ["slow", "fast"]
    whole = picture(browser)
    top, bottom, width = int(a[1]) + 24, int(a[1] + a[3]) - 24, int(a[2]) - 8
    one, other = (whole[top:bottom, int(x) + 4 : int(x) + 4 + width] for x in (a[0], b[0]))
    assert one.std() > 8 and differing(one, other) < 150
    js("hmr4d.setFrame(2)")
    assert differing(one, picture(browser)[top:bottom, int(a[0]) + 4 : int(a[0]) + 4 + width]) > 300
    wrist = SMPL22.index("left_wrist")
    js("hmr4d.setFrame(14)")
    p, q = (np.array(js(f"hmr4d.project({m}, {wrist})")) for m in (0, 1))
    assert np.abs(q - p - [b[0] - a[0], 0]).max() < 1.5

    # Together: one scene, every figure in its own color, captions beside the colors.
    press(browser, "t")
    js("hmr4d.render()")
    assert [p["motions"] for p in js("hmr4d.panels")] == [[0, 1]]
    p, q = (np.array(js(f"hmr4d.project({m}, {wrist})")) for m in (0, 1))
    assert np.abs(q - p).max() < 1.5
    assert js("[...document.getElementById('legend').children].map((p) => p.textContent)") == ["slow", "fast"]
    assert js("document.getElementById('labels').children.length") == 0
    js("hmr4d.setMode('skeleton'); hmr4d.setView(0, 0.1)")
    x, y = js(f"hmr4d.project(1, {SMPL22.index('spine1')})")
    red, green, blue, _ = js(f"hmr4d.pixel({x}, {y + 4})")
    assert max(red, green, blue) - min(red, green, blue) > 40  # the plain figure has a gray spine
    press(browser, "ArrowDown")
    assert (js("hmr4d.numFrames"), js("document.getElementById('arranged').hidden")) == (10, True)


def test_views_play_next_to_the_figure(tmp_path, walk, browser):
    path, views = tmp_path / "m.html", ring(walk)
    write_html(path, [PageMotion(as_motion(walk, text="walk"), views=views)], mesh=False)
    browser.call("Emulation.setDeviceMetricsOverride", width=1000, height=700, deviceScaleFactor=1, mobile=False)
    browser.open(path, "#paused")
    js = browser.evaluate
    js("hmr4d.setTheme('light')")
    assert js("[...document.querySelectorAll('#views figcaption')].map((c) => c.textContent)") == [
        "view 1",
        "view 2",
        "view 3",
    ]
    shots = []
    for frame in (0, 20):
        js(f"hmr4d.setFrame({frame})")
        for view in range(3):
            size = js(f"(({{ width, height }}) => [width, height])(document.querySelectorAll('#views canvas')[{view}])")
            scale = min(size[0] / 640, size[1] / 480)
            for side, strong in (("left", 2), ("right", 0)):
                knee, ankle = (views.joints2d[view, frame, SMPL22.index(f"{side}_{j}")] for j in ("knee", "ankle"))
                x, y = (knee * 0.4 + ankle * 0.6 - [320, 240]) * scale + np.array(size) / 2
                point = js(
                    f"[...document.querySelectorAll('#views canvas')[{view}].getContext('2d')"
                    f".getImageData({round(x - 0.5)}, {round(y - 0.5)}, 1, 1).data]"
                )
                assert point[3] > 60
                shots.append((point[2 - strong], point[strong]))
    assert np.mean([strong > weak + 40 for weak, strong in shots]) > 0.7  # a leg may hide the other

    # Cameras stand in the scene, and go with their views.
    js("document.getElementById('preset').value = 'cameras'; document.getElementById('pictures').click()")
    js("hmr4d.setFrame(0)")
    assert js("document.getElementById('views').hidden") is True
    without = picture(browser)
    js("document.getElementById('pictures').click(); hmr4d.setFrame(0)")
    assert js("document.getElementById('views').hidden") is False
    with_cameras, figure = picture(browser), np.s_[100:560, 190:990]
    assert differing(with_cameras[figure], without[figure]) > 200
    colors = with_cameras[figure].reshape(-1, 3)
    for color in ((214, 94, 0), (0, 158, 115), (204, 120, 171)):
        near = np.abs(colors / np.maximum(colors.sum(axis=1, keepdims=True), 1) - np.array(color) / sum(color)).max(
            axis=1
        )
        assert (near < 0.05).sum() > 20


NO_WEBGL = """
const real = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
  return kind === "webgl2" ? null : real.call(this, kind, ...more);
};
"""


def test_without_webgl_the_page_draws_on_a_plain_canvas(tmp_path, walk, browser):
    path = tmp_path / "m.html"
    write_html(path, [PageMotion(as_motion(walk, text="walk"), views=ring(walk))])
    script = browser.call("Page.addScriptToEvaluateOnNewDocument", source=NO_WEBGL)["identifier"]
    try:
        browser.open(path, "#paused")
    finally:
        browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
    js = browser.evaluate
    assert js("hmr4d.painter") == "canvas"
    js("hmr4d.setTheme('light'); hmr4d.setView(0, 0.1); hmr4d.setFrame(0)")
    left, right = (js(f"hmr4d.project(0, {SMPL22.index(f'{side}_elbow')})") for side in ("left", "right"))
    for mode in ("mesh", "skeleton", "both"):
        js(f"hmr4d.setMode('{mode}')")
        red, _, blue, _ = js(f"hmr4d.pixel({left[0]}, {left[1] + 3})")
        assert blue > red + 30
        red, _, blue, _ = js(f"hmr4d.pixel({right[0]}, {right[1] + 3})")
        assert red > blue + 30
    before = picture(browser)
    js("hmr4d.setFrame(9)")
    assert differing(before, picture(browser)) > 300


def test_everything_fits_on_a_phone(tmp_path, walk, browser):
    path = tmp_path / "m.html"
    rows = [
        (
            "a long caption that goes over a line or two " * 3,
            [PageMotion(as_motion(walk), "a", views=ring(walk)), as_motion(walk, text="b")],
        )
    ]
    write_comparison(path, rows, mesh=False)
    browser.call("Emulation.setDeviceMetricsOverride", width=390, height=780, deviceScaleFactor=2, mobile=True)
    browser.open(path, "#paused")
    js = browser.evaluate
    assert js("document.documentElement.scrollWidth") <= 390
    place = "document.getElementById('{}').getBoundingClientRect()"
    boxes = {
        name: js(f"(r => [r.left, r.top, r.right, r.bottom])({place.format(name)})")
        for name in ("play", "layout", "preset", "theme", "views", "head")
    }
    assert all(0 <= b[0] < b[2] <= 390 and 0 <= b[1] < b[3] <= 780 for b in boxes.values()), boxes
    assert boxes["head"][3] <= boxes["views"][1]
    (x, y, wide, high), (u, v, _, _) = (p["rect"] for p in js("hmr4d.panels"))
    assert boxes["views"][3] <= y and (x + wide <= u + 1 or y + high <= v + 1)
    assert min(wide, high) > 120

"""GLB files played by three.js in Chromium: joints and mesh are where the body has them."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from hmr4d.body.loading import load_body
from hmr4d.body.pose import Pose
from hmr4d.export.glb import write_glb
from hmr4d.motion.motion import Motion
from tests.export.test_glb import FPS, moving
from tests.visualization.browser import Browser, find_chromium

THREE = os.environ.get("HMR4D_THREE", "")  # folder of the package `three`
PAGE = """<!doctype html><meta charset="utf-8">
<script type="importmap">
{"imports": {"three": "./three/build/three.module.js", "three/addons/": "./three/examples/jsm/"}}
</script>
<script type="module">
import { AnimationMixer, LoopOnce, Vector3 } from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
const { scene, animations, asset } = await new GLTFLoader().loadAsync("body.glb");
const mesh = scene.getObjectByProperty("isSkinnedMesh", true);
const mixer = new AnimationMixer(scene);
const action = mixer.clipAction(animations[0]);
action.setLoop(LoopOnce);
action.clampWhenFinished = true;
action.play();
window.at = (seconds, every) => {
  mixer.setTime(seconds);
  scene.updateMatrixWorld(true);
  const point = new Vector3(), vertices = [];
  for (let i = 0; i < mesh.geometry.attributes.position.count; i += every)
    vertices.push(mesh.localToWorld(mesh.getVertexPosition(i, point)).toArray());
  const joints = mesh.skeleton.bones.map((bone) => bone.getWorldPosition(point).toArray());
  return { joints, vertices, names: mesh.skeleton.bones.map((bone) => bone.name), text: asset.extras.text };
};
document.documentElement.dataset.ready = "1";
</script>
"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "index.html").write_text(PAGE, encoding="utf-8")
    (tmp_path / "three").symlink_to(Path(THREE).resolve())
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.assets
@pytest.mark.skipif(not find_chromium(), reason="no Chromium")
@pytest.mark.skipif(not THREE, reason="HMR4D_THREE names no folder of the npm package three")
def test_three_js_plays_the_motion(tmp_path: Path, address: str) -> None:
    body = load_body("anny")
    rotations, translation = moving(body)
    pose = Pose("anny", rotations, translation, body.rest_joints)
    write_glb(tmp_path / "body.glb", Motion(pose.joints(), FPS, text="turns", pose=pose), body=body)
    with Browser(str(find_chromium()), 120) as browser:
        browser.call("Page.navigate", url=address)
        while browser.evaluate("document.documentElement?.dataset.ready") is None:
            time.sleep(0.1)
        for frame in (0, 5, 11):
            seen = browser.evaluate(f"at({frame / FPS}, 10)")
            assert (seen["names"], seen["text"]) == (list(body.joint_names), "turns")
            joints = body.pose(rotations[frame], translation[frame])
            np.testing.assert_allclose(seen["joints"], joints, atol=1e-4)
            vertices = body.vertices(rotations[frame], translation[frame])
            np.testing.assert_allclose(seen["vertices"], vertices[::10], atol=1e-4)
        assert not browser.errors

"""Videos with known faults, and what looks at videos: detectors, captioners, red boxes."""

from __future__ import annotations

import http.server
import io
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hmr4d.curation.captioners import EndpointCaptions
from hmr4d.curation.detectors import HttpDetector, build_detector
from hmr4d.curation.edge_measures import edge_measures
from hmr4d.curation.manifest import read_manifest
from hmr4d.curation.red_box import RED
from hmr4d.curation.run import curate
from hmr4d.curation.shards import read_clips
from hmr4d.curation.sources import LocalFolder
from hmr4d.curation.stages import ClipVideos, Settings
from hmr4d.curation.trimming import clip_id
from hmr4d.curation.video_frames import nearest_pictures, probe
from hmr4d.visualization.pixels import to_pixels
from hmr4d.visualization.video_file import write_mp4
from tests.curation.sources import write_track
from tests.curation.test_run import dead_letters
from tests.curation.tracks import walk

SIZE = (320, 180)
FRAMES = 75
SCALE = 0.25  # of the tracks' 1280 x 720


def scene(shift: int = 0, seed: int = 0) -> Image.Image:
    """A smooth background, moved to the left."""
    rows = np.random.default_rng(seed).integers(0, 256, (18, 200), dtype=np.uint8)
    wide = Image.fromarray(rows).resize((2000, 180), Image.Resampling.BICUBIC)
    return wide.crop((shift, 0, shift + SIZE[0], SIZE[1])).convert("RGB")


def write_video(path: Path, pictures: list[Image.Image], fps: float = 30.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mp4(path, (to_pixels(picture) for picture in pictures), fps=fps, size=SIZE)


def small_walk(num_frames: int = FRAMES, speed: float = 0.5) -> Any:
    track = walk(num_frames, speed=speed)
    keypoints = track.keypoints * np.array([SCALE, SCALE, 1], np.float32)
    return replace(track, keypoints=keypoints, boxes=track.boxes * SCALE, size=SIZE)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    still = [scene()] * FRAMES
    faults = {
        "walk": still,
        "pan": [scene(6 * t) for t in range(FRAMES)],
        "cut": [scene()] * 40 + [scene(seed=5).point(lambda v: v // 4)] * (FRAMES - 40),
        "freeze": still,
    }
    for name, pictures in faults.items():
        write_video(root / f"{name}.mp4", pictures)
        write_track(root / f"{name}.npz", small_walk(speed=0.0 if name == "freeze" else 0.5), size=SIZE)
    return root


def test_videos_with_known_faults_have_their_reasons(videos: Path, tmp_path: Path) -> None:
    packed = curate(Settings(str(videos), captioner="template", render=True), tmp_path / "out")
    assert dead_letters(tmp_path / "out") == {"pan.mp4": "camera_motion", "cut.mp4": "shot_cut", "freeze.mp4": "static"}
    assert sum(packed.clips.values()) == 1
    ((_, clip),) = read_clips(tmp_path / "out")
    assert clip.meta["filters"]["not_run"] == [] and clip.meta["n_frames"] == FRAMES
    assert clip.key == clip_id("walk.mp4", 0.0, 2.5) and tuple(clip.arrays["kpts"][0, 17]) == (*SIZE, 1)
    (video,) = (tmp_path / "out/videos").glob(f"{clip.key}-*.mp4")
    assert_red_box(video, clip.arrays["bbox_xyxy"])
    sources = {source.id: source for source in LocalFolder(videos).list()}
    others = {**clip.arrays, "bbox_xyxy": clip.arrays["bbox_xyxy"] + 40}  # as another detector sees the same clip
    clips = ClipVideos(sources, tmp_path / "out/videos")
    assert clips.path(clip) == video and clips.path(replace(clip, arrays=others)) != video


def assert_red_box(video: Path, boxes: np.ndarray) -> None:
    _, times = probe(video)
    assert len(times) == len(boxes)
    picture = np.asarray(next(nearest_pictures(video, times, np.array([1.0]))), np.int64)
    red = picture[..., 0] - picture[..., 1:].max(-1) > (RED[0] - RED[1]) / 4  # colors are coded at half the size
    columns, box = np.flatnonzero(red.sum(0) > 40), boxes[30]
    assert abs(columns[0] - box[0]) < 6 and abs(columns[-1] - box[2]) < 6


def test_a_video_of_another_rate_gives_the_nearest_image(tmp_path: Path) -> None:
    shades = [Image.new("RGB", SIZE, (value, value, value)) for value in range(0, 250, 10)]  # 25 frames
    write_video(tmp_path / "v.mp4", shades, fps=25.0)
    _, times = probe(tmp_path / "v.mp4")
    at = np.arange(29) / 30
    seen = [np.asarray(p).mean() for p in nearest_pictures(tmp_path / "v.mp4", times, at)]
    wanted = [10 * round(t * 25 - 1e-9) for t in at]
    assert len(seen) == 29 and np.abs(np.array(seen) - wanted).max() < 4


class Server:
    """A server on this machine that answers every POST with what a function makes of it."""

    def __init__(self, answer: Any) -> None:
        self.bodies: list[bytes] = []
        told = self.bodies

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told.append(body)
                content = json.dumps(answer(body)).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()


def test_a_server_finds_people_and_the_largest_box_counts(videos: Path, tmp_path: Path) -> None:
    track, calls = small_walk(), iter(range(10_000))

    def people(body: bytes) -> list[list[dict[str, Any]]]:
        frames = np.lib.format.read_array(io.BytesIO(body))
        assert frames.shape[1:] == (180, 320, 3) and frames.dtype == np.uint8
        answer = []
        for _ in frames:
            row = min(next(calls), FRAMES - 1)
            small = {"bbox": [0, 0, 9, 9], "score": 0.99, "kpts": np.zeros((17, 3)).tolist()}
            large = {"bbox": track.boxes[row].tolist(), "score": 0.9, "kpts": track.keypoints[row].tolist()}
            answer.append([small, large])
        return answer

    root = tmp_path / "one"
    root.mkdir()
    (root / "walk.mp4").write_bytes((videos / "walk.mp4").read_bytes())
    with Server(people) as server:
        curate(Settings(str(root), detector=server.url, captioner="template"), tmp_path / "out")
    ((_, clip),) = read_clips(tmp_path / "out")
    assert np.allclose(clip.arrays["kpts"][:, :17], track.keypoints, atol=1e-3) and clip.meta["detector"] == "http"


@pytest.mark.parametrize(
    "person", [{}, {"bbox": [0, 0, 9, 10**400]}, {"bbox": [0, 0, None, 9], "kpts": [[0, 0, 0]] * 17}]
)
def test_an_invalid_answer_of_a_server_is_reported(person: dict[str, Any]) -> None:
    with (
        Server(lambda _: [[person]]) as server,
        pytest.raises(ValueError, match="answered the person .* expected 'bbox'"),
    ):
        HttpDetector(server.url).infer(np.zeros((1, 8, 8, 3), np.uint8))


def test_with_two_passes_a_server_gets_half_of_an_empty_video(tmp_path: Path) -> None:
    write_video(tmp_path / "in" / "empty.mp4", [scene()] * 90)
    frames: list[int] = []

    def nobody(body: bytes) -> list[list[Any]]:
        count = len(np.lib.format.read_array(io.BytesIO(body)))
        frames.append(count)
        return [[] for _ in range(count)]

    with Server(nobody) as server:
        settings = Settings(str(tmp_path / "in"), detector=server.url, two_passes=True)
        packed = curate(settings, tmp_path / "out")
    assert sum(frames) == 45 and sum(packed.clips.values()) == 0
    assert dead_letters(tmp_path / "out") == {"empty.mp4": "person"}


def test_a_command_detects_and_another_one_describes(videos: Path, tmp_path: Path) -> None:
    root, tool = tmp_path / "one", tmp_path / "tool.py"
    root.mkdir()
    (root / "walk.mp4").write_bytes((videos / "walk.mp4").read_bytes())
    track = small_walk()
    frames = [
        {"frame_id": t, "instances": [{"keypoints": k[:, :2].tolist(), "keypoint_scores": k[:, 2].tolist()}]}
        for t, k in enumerate(track.keypoints)
    ]
    (tmp_path / "found.json").write_text(json.dumps({"instance_info": frames}))
    tool.write_text("import sys, shutil; shutil.copy(sys.argv[2], sys.argv[3])")
    speaker = tmp_path / "speaker.py"
    speaker.write_text("import sys; print('a person walks\\n\\n  and   waves')")
    words = f"{sys.executable} {tool} {{video}} {tmp_path / 'found.json'} {{out}}"
    settings = Settings(
        str(root), detector=f"command:{words}", captioner=f"command:{sys.executable} {speaker} {{video}}"
    )
    curate(settings, tmp_path / "out")
    (row,) = read_manifest(tmp_path / "out")
    assert [caption["text"] for caption in row["captions"]] == ["a person walks", "and waves"]
    failing = replace(settings, captioner=f"command:{sys.executable} -c 'import sys;sys.exit(3)' {{video}}")
    curate(failing, tmp_path / "out")
    assert dead_letters(tmp_path / "out") == {"walk.mp4": "runtime_error"}


def test_a_chat_server_gets_eight_images_of_the_boxed_person(videos: Path, tmp_path: Path) -> None:
    root = tmp_path / "one"
    root.mkdir()
    for name in ("walk.mp4", "walk.npz"):
        (root / name).write_bytes((videos / name).read_bytes())
    answer = {"choices": [{"message": {"content": "A person walks to the right. \ud83d"}}]}  # half of a pair
    with Server(lambda _: answer) as server:
        curate(Settings(str(root), captioner=f"openai:{server.url}#seer"), tmp_path / "out")
        request = json.loads(server.bodies[0])
    (row,) = read_manifest(tmp_path / "out")
    assert row["captions"] == [
        {"text": "A person walks to the right. ?", "model": "openai:seer", "prompt_id": "boxed_person_1"}
    ]
    content = request["messages"][0]["content"]
    assert request["model"] == "seer" and [part["type"] for part in content] == ["text"] + ["image_url"] * 8
    assert EndpointCaptions("http://x/v1").url == "http://x/v1/chat/completions"


def test_sources_are_videos_with_keypoints_and_single_keypoint_files(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.mp4", "a.json", "b.json", "b.npz", "sub/c.csv", ".d.json", "readme.txt"):
        (tmp_path / name).write_text("x")
    sources = {source.id: source for source in LocalFolder(tmp_path).list()}
    assert set(sources) == {"a.mp4", "b.json", "b.npz", "sub/c.csv"}
    assert sources["a.mp4"].keypoints == tmp_path / "a.json"
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match="contains neither videos"):
        list(LocalFolder(tmp_path / "none").list())


def test_frames_that_a_video_does_not_have_are_refused(videos: Path, tmp_path: Path) -> None:
    write_track(tmp_path / "one/walk.npz", small_walk(FRAMES + 9), size=SIZE)
    (tmp_path / "one/walk.mp4").write_bytes((videos / "walk.mp4").read_bytes())
    curate(Settings(str(tmp_path / "one")), tmp_path / "out")
    assert dead_letters(tmp_path / "out") == {"walk.mp4": "frames_differ"}


def test_edge_measures_stop_with_the_images() -> None:
    def pictures() -> Iterator[np.ndarray]:
        yield from [np.zeros((180, 320), np.uint8)] * 3

    assert len(list(edge_measures(pictures(), np.zeros((9, 4)), (320, 180)))) == 3
    assert build_detector("precomputed").name == "precomputed"

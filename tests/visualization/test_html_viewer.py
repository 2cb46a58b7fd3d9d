"""What a page holds, read back by a decoder of its own."""

import sys
from pathlib import Path

import numpy as np
import pytest

from hmr4d.body.skeleton import COCO17
from hmr4d.motion.skinning import drive_body
from hmr4d.visualization import html_viewer
from hmr4d.visualization.html_viewer import ImageViews, PageMotion, write_comparison, write_html
from tests.motions import as_motion

sys.path.insert(0, str(Path(__file__).parent))
from pages import NASTY, Saved, ring, turned


@pytest.mark.parametrize("span", [1.0, 25.0, 8000.0])
def test_joints_are_stored_to_a_fifth_of_a_millimeter(tmp_path, walk, span):
    moved = (walk + np.linspace(-span, span, len(walk), dtype=np.float32)[:, None, None] + 5).astype(np.float32)
    write_html(tmp_path / "m.html", [as_motion(moved)], mesh=False)
    assert np.abs(Saved(tmp_path / "m.html").joints() - moved).max() < 0.0002 + span * 1e-7


def test_page_is_complete_and_makes_no_requests(tmp_path, walk):
    path = tmp_path / "m.html"
    write_html(path, [as_motion(walk, text=NASTY), as_motion(walk[:1])], title="<My> title & @@SCRIPT@@")
    text, saved = path.read_text(encoding="utf-8"), Saved(path)
    assert len(saved.page.scripts) == 3
    assert [m["caption"] for m in saved.data["motions"]] == [NASTY, ""]
    assert [m["joints"]["rows"] for m in saved.data["motions"]] == [len(walk), 1]
    assert [m["fps"] for m in saved.data["motions"]] == [20.0, 20.0]
    assert saved.data["skeleton"] == "smpl22"
    assert "<title>&lt;My&gt; title &amp; @@SCRIPT@@</title>" in text
    links = [v for _, attributes in saved.page.elements for k, v in attributes.items() if k in ("src", "href")]
    assert links == ["data:,"]
    assert "http://" not in text and "https://" not in text and "@import" not in text and "url(" not in text
    assert [p.name for p in tmp_path.iterdir()] == ["m.html"]


def test_errors_name_the_motion(tmp_path, walk):
    with pytest.raises(ValueError, match="empty"):
        write_html(tmp_path / "m.html", [], title="")
    walk[4, 21, 2] = np.nan
    with pytest.raises(ValueError, match=r"Motion 0 \('a'\).*frame 4, joint 21 \(right_wrist\)"):
        write_html(tmp_path / "m.html", [as_motion(walk, text="a")], title="")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("angle", [0.0, 2.0, np.pi])
def test_the_stored_body_is_the_posed_one(tmp_path, walk, angle):
    """Skinned here by hand from what the page holds: template, shape of the motion, turns and places."""
    joints = turned(walk[::6], angle, (3, 0, -2)).astype(np.float32)
    write_html(tmp_path / "m.html", [as_motion(joints)], mesh=True)
    saved = Saved(tmp_path / "m.html")
    mesh, body = saved.data["mesh"], saved.data["motions"][0]["body"]
    weights = saved.numbers(mesh["weights"])
    weights = weights / weights.sum(axis=1, keepdims=True)
    skin = saved.numbers(mesh["skin"])

    def blend(maps: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Maps (J, 4, 3) on points (V, 3)."""
        points = np.concatenate([points, np.ones((len(points), 1))], axis=1)
        return np.einsum("vk,vkic,vi->vc", weights, maps[skin], points)

    shaped = blend(saved.numbers(body["shape"]).reshape(22, 4, 3), saved.numbers(mesh["vertices"]))
    shaped = shaped + saved.numbers(body["residual"])
    posed, rest = drive_body(as_motion(joints)), saved.numbers(body["rest"])
    assert np.abs(shaped - posed.body.rest_vertices.numpy()).max() < 0.001
    for frame, vertices in enumerate(posed.meshes()):
        quats = saved.numbers(body["turns"])[frame].reshape(22, 4)
        worlds, places, maps = [], [], []
        for joint, parent in enumerate(mesh["parents"]):
            x, y, z, w = quats[joint] / np.linalg.norm(quats[joint])
            K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
            own = np.eye(3) + 2 * w * K + 2 * K @ K
            worlds.append(own if parent < 0 else worlds[parent] @ own)
            offset = rest[joint] - (rest[parent] if parent >= 0 else 0)
            moved = saved.numbers(body["translation"])[frame]
            places.append(offset + moved if parent < 0 else places[parent] + worlds[parent] @ offset)
            maps.append(np.vstack([worlds[joint].T, places[joint] - worlds[joint] @ rest[joint]]))
        assert np.abs(blend(np.stack(maps), shaped) - vertices.numpy()).max() < 0.003
    assert np.array_equal(saved.numbers(mesh["faces"]).reshape(-1, 3), posed.body.faces.numpy())
    assert 0 <= body["lift"] < 0.1


def test_pages_have_a_body_by_default_up_to_a_number_of_frames(tmp_path, walk, monkeypatch, caplog):
    path = tmp_path / "m.html"

    def has_body(*motions, **options) -> list[bool]:
        write_html(path, [as_motion(joints, text="a") for joints in motions], **options)
        data = Saved(path).data
        assert (data["mesh"] is not None) == any(m["body"] for m in data["motions"])
        return [m["body"] is not None for m in data["motions"]]

    assert has_body(walk) == [True]
    small = path.stat().st_size
    assert small < 300_000
    assert has_body(walk, mesh=False) == [False]
    assert small - path.stat().st_size > 100_000
    monkeypatch.setattr(html_viewer, "MESH_FRAMES", 2 * len(walk) - 1)
    assert has_body(walk, walk) == [False, False]
    assert has_body(walk, walk, mesh=True) == [True, True]
    broken = walk.copy()
    broken[:, 8] = broken[:, 5]  # a shin without length
    assert has_body(broken[:3], walk[:3]) == [False, True]
    assert "skeleton only" in caplog.text
    with pytest.raises(ValueError, match="Motion 0"):
        write_html(path, [as_motion(broken)], mesh=True)


def test_other_skeletons_have_no_body(tmp_path, walk):
    write_html(tmp_path / "m.html", [as_motion(walk[:, :17], skeleton=COCO17)])
    assert Saved(tmp_path / "m.html").data["mesh"] is None
    with pytest.raises(ValueError, match="'coco17' cannot move a body"):
        write_html(tmp_path / "m.html", [as_motion(walk[:, :17], skeleton=COCO17)], mesh=True)


def test_ten_minutes_of_motion_are_small(tmp_path, walk):
    """Smooth and noisy by turns: the noise of a millimeter that captured motion has."""
    rng = np.random.default_rng(0)
    long = np.concatenate([walk] * 600) + rng.normal(0, 0.0005, (18000, 22, 3)).astype(np.float32)
    write_html(tmp_path / "m.html", [as_motion(long, fps=30)])
    assert (tmp_path / "m.html").stat().st_size < 1_700_000
    assert np.abs(Saved(tmp_path / "m.html").joints() - long).max() < 0.00021


def test_views_are_stored_with_their_cameras(tmp_path, walk):
    views = ring(walk)
    views.joints2d[1, 3, 7] = np.nan
    write_html(tmp_path / "m.html", [PageMotion(as_motion(walk, text="a"), views=views)], mesh=False)
    saved = Saved(tmp_path / "m.html")
    entry = saved.data["motions"][0]["views"]
    points = saved.numbers(entry["joints2d"]).reshape(len(walk), 3, 22, 2).transpose(1, 0, 2, 3)
    missing = points >= entry["missing"] * entry["joints2d"]["step"]
    assert np.array_equal(missing, np.isnan(views.joints2d))
    assert np.abs(points - views.joints2d)[~missing].max() < 0.05  # pixels
    centers = -np.einsum("vji,vj->vi", views.T_w2c[:, :3, :3], views.T_w2c[:, :3, 3])
    assert np.abs(saved.numbers(entry["places"]).reshape(3, 3) - centers).max() < 0.001
    assert entry["opening"] == [[-0.8, -0.6, 0.8, 0.6]] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints2d": np.zeros((2, 30, 23, 2))}, r"\(2, 30, 23, 2\).*next-root"),
        ({"joints2d": np.full((2, 30, 22, 2), np.nan)}, "no finite joint"),
        ({"T_w2c": np.eye(4)[None]}, r"T_w2c has shape \(1, 4, 4\)"),
        ({"T_w2c": np.stack([2 * np.eye(4)] * 2)}, "no rotation"),
        ({"K": np.eye(3)}, "without the image size"),
        ({"K": np.eye(4), "size": (4, 4)}, "K has shape"),
        ({"size": (0, 4)}, "size is"),
        ({"names": ["one"]}, "1 names for 2 views"),
    ],
)
def test_views_that_do_not_fit_are_refused(tmp_path, walk, change, message):
    views = ImageViews(**{"joints2d": np.zeros((2, 30, 22, 2)), **change})
    with pytest.raises(ValueError, match=rf"Motion 0 \('a'\).*{message}"):
        write_html(tmp_path / "m.html", [PageMotion(as_motion(walk, text="a"), views=views)])


def test_a_comparison_starts_all_motions_at_the_origin(tmp_path, walk):
    away = turned(walk, 2.5, (4, 0, 1))
    rows = [("walks", [as_motion(walk), PageMotion(as_motion(away), "truth", views=ring(away))])] * 2
    write_comparison(tmp_path / "m.html", rows, mesh=False)
    saved = Saved(tmp_path / "m.html")
    assert np.abs(saved.joints(0) - saved.joints(1)).max() < 0.001
    assert np.abs(saved.joints(1)[0, 0, [0, 2]]).max() < 0.001
    assert saved.data["entries"] == [
        {"caption": "walks", "motions": [0, 1]},
        {"caption": "walks (2)", "motions": [2, 3]},
    ]
    colors = [m["color"] for m in saved.data["motions"]]
    assert colors[0] != colors[1] and colors[:2] == colors[2:]
    entry = saved.data["motions"][1]["views"]  # cameras came along: still around the figure
    places = saved.numbers(entry["places"]).reshape(3, 3) - saved.joints(1)[:, 0].mean(axis=0)
    assert np.abs(np.linalg.norm(places[:, [0, 2]], axis=1) - 3.5).max() < 0.002


def test_the_convention_of_the_source_reaches_the_body(tmp_path, walk) -> None:
    joints = walk[:3]
    write_html(tmp_path / "m.html", [as_motion(joints, metadata={"joint_convention": "bandai_namco"})], mesh=True)
    body = Saved(tmp_path / "m.html")
    rest = body.numbers(body.data["motions"][0]["body"]["rest"])
    expected = drive_body(as_motion(joints, metadata={"joint_convention": "bandai_namco"})).body.rest_joints.numpy()
    assert np.abs(rest - expected).max() < 1e-3
    assert np.abs(drive_body(as_motion(joints)).body.rest_joints.numpy() - rest).max() > 5e-3
    with pytest.raises(ValueError, match="known: bandai_namco"):
        write_html(tmp_path / "n.html", [as_motion(joints, metadata={"joint_convention": "mars"})], mesh=True)

"""The networks give what the reference runtime gives, find a drawn person, and say where in the picture."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.detection.conversion import SOURCES, read_archive
from hmr4d.detection.graph import load_graph
from hmr4d.detection.networks import JointFinder, PeopleFinder, find_detector, refine_by_heat
from hmr4d.detection.regions import Region, cut_out
from tests.detection import reference
from tests.detection.pictures import STANDING, one_person, to_picture

PIXELS = 0.05  # by which landmarks may differ from the reference runtime
WORLD = 1e-4  # meters


def our_outputs(network: str, pictures: np.ndarray) -> dict[str, np.ndarray]:
    if not (find_detector() / f"{network}.json").is_file():
        pytest.skip(f"the weights of '{network}' do not ship: docs/detect.md tells how to convert them")
    graph = load_graph(find_detector(), network)
    results = graph(torch.from_numpy(pictures).permute(0, 3, 1, 2))
    return {name: value.detach().numpy() for name, value in results.items()}


def assert_equal(network: str, name: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    difference = np.abs(ours.reshape(theirs.shape) - theirs)
    if name in ("landmarks", "boxes"):  # u, v and depth in pixels, two logits; boxes
        assert difference.max() < PIXELS
    else:
        assert difference.max() < (WORLD if name in ("world", "presence") else 0.01), f"{network}/{name}"


@pytest.mark.parametrize("network", ["people", "full", "heavy"])
def test_synthetic_images_give_the_stored_outputs_of_the_reference_runtime(network: str) -> None:
    stored = np.load(reference.FILE)
    ours = our_outputs(network, reference.made_pictures(network))
    for name in SOURCES[network].outputs:
        if name == "heatmap":
            continue
        values = ours[name]
        if network == "people":
            values = np.take_along_axis(values, stored["people/rows"][..., None], 1)
        assert_equal(network, name, values, stored[f"{network}/{name}"])
    if network == "people":
        assert stored["people/scores"].max() > 0  # somebody is found
    else:
        assert stored[f"{network}/presence"].max() > 0.9


def test_a_network_that_does_not_ship_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no network 'heavy'. Convert it with hmr4d prepare detector"):
        JointFinder(tmp_path, "heavy")


@pytest.mark.assets
@pytest.mark.parametrize("network", ["people", "full", "heavy"])
def test_any_images_give_what_the_reference_runtime_gives(network: str) -> None:
    """HMR4D_TFLITE names archives with the TFLite files, HMR4D_PICTURES a folder of photographs where there is one."""
    pytest.importorskip("ai_edge_litert", reason="the reference runtime is not installed: pip install ai-edge-litert")
    if not (named := os.environ.get("HMR4D_TFLITE")):
        pytest.skip("HMR4D_TFLITE names no archives with the TFLite files")
    archives = [Path(part) for part in named.split(os.pathsep)]
    files = {k: v for archive in archives for k, v in read_archive(archive, {SOURCES[network].file}).items()}
    pictures = [*reference.made_pictures(network)]
    for path in sorted(Path(os.environ.get("HMR4D_PICTURES", os.devnull)).glob("*.jpg")):
        from PIL import Image

        side = reference.SIDES[network]
        values = np.asarray(Image.open(path).convert("RGB").resize((side, side)), np.float32) / 255
        pictures.append(values * 2 - 1 if network == "people" else values)
    theirs = reference.reference_outputs(files[SOURCES[network].file], np.stack(pictures))
    ours = our_outputs(network, np.stack(pictures))
    for name, tensor in SOURCES[network].outputs.items():
        expected = theirs[tensor].transpose(0, 3, 1, 2) if name == "heatmap" else theirs[tensor]
        assert_equal(network, name, ours[name], expected)


def test_a_drawn_person_is_found_with_joints_where_they_were_drawn() -> None:
    folder, (width, height) = find_detector(), (480, 360)
    picture = one_person((width, height), top=(240, 40), height=280)
    found = PeopleFinder(folder)(picture, [Region(width / 2, height / 2, width)])
    assert found[0].score > 0.8
    assert abs(found[0].region.u - 240) < 15 and abs(found[0].region.v - 180) < 20
    joints = JointFinder(folder)
    body = joints(picture, [joints(picture, [found[0].region])[0].next_region])[0]
    assert body.presence > 0.9
    for joint, name in (
        (11, "left_shoulder"),
        (12, "right_shoulder"),
        (25, "left_knee"),
        (26, "right_knee"),
        (27, "left_ankle"),
        (28, "right_ankle"),
        (15, "left_wrist"),
        (16, "right_wrist"),
    ):
        drawn = np.array([240, 40]) + 280 * np.array(STANDING[name])
        assert np.linalg.norm(body.points[joint] - drawn) < 0.08 * 280, name
    assert abs(body.next_region.size - found[0].region.size) < 0.2 * found[0].region.size


def test_an_empty_room_has_nobody() -> None:
    from tests.detection.pictures import room

    picture = to_picture(room((480, 360)))
    assert not PeopleFinder(find_detector())(picture, [Region(240, 180, 480)])


def test_a_turned_region_shows_a_turned_image_upright() -> None:
    picture = one_person((400, 400), top=(200, 60), height=280)
    turned = picture.rotate(-30, resample=2)  # clockwise
    upright = cut_out(picture, Region(200, 200, 300), 256).astype(float)
    again = cut_out(turned, Region(200, 200, 300, np.radians(30)), 256).astype(float)
    assert np.abs(upright - again)[40:-40, 40:-40].mean() < 3


def test_places_of_a_region_are_restored() -> None:
    region = Region(120.0, 80.0, 50.0, 0.4)
    middle = region.to_picture(np.array([0.5, 0.5]))
    over = region.to_picture(np.array([0.5, 0.0]))
    assert np.allclose(middle, (120, 80))
    again = Region.around(middle, over, 1.0)
    assert np.allclose((again.u, again.v, again.size, again.angle), (120, 80, 50, 0.4))


def test_a_large_image_is_averaged_and_places_stay_within_a_pixel() -> None:
    values = np.zeros((1600, 1600, 3))
    values[801:809, 401:409] = 255
    cut = cut_out(to_picture(values), Region(800, 800, 1600), 256).astype(float).sum(-1)
    v, u = np.indices(cut.shape) + 0.5
    place = np.array([(cut * u).sum(), (cut * v).sum()]) / cut.sum() / 256 * 1600
    assert np.abs(place - (405, 805)).max() < 0.5


def test_heat_moves_a_joint_and_its_lack_leaves_it() -> None:
    heatmap = torch.full((1, 2, 64, 64), -20.0)
    heatmap[0, 0, 30, 41] = 8.0
    places = torch.tensor([[[39.5, 31.5], [39.5, 31.5]]]) / 64
    refined, heat = refine_by_heat(places, heatmap)
    assert torch.allclose(refined[0, 0] * 64, torch.tensor([41.0, 30.0]), atol=0.01)
    assert torch.equal(refined[0, 1], places[0, 1])
    assert heat[0, 0] > 0.99 and heat[0, 1] < 0.01

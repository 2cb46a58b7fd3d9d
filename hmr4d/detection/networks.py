"""The two networks of BlazePose: one detects people in a square of an image, the other the joints of a person.

Bazarevsky et al., BlazePose: On-device Real-time Body Pose Tracking, 2020, arXiv:2006.10204. The first predicts for
2254 positions of a square whether there is a person, and two points: the hip center and a point of the circle around
the whole body, which give position, size and rotation of the person. The second gets the upright person and predicts 33
joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hmr4d.detection.graph import GraphNetwork, load_graph
from hmr4d.detection.regions import Region, cut_out
from hmr4d.utils.releases import find_release_folder

Array = NDArray[np.float64]

DETECTOR = "blazepose"  # folder of the weights that ship
MODELS = ("full", "heavy")  # the weights of "heavy" do not ship, see docs/detect.md
NUM_JOINTS = 33
BODY_SCALE = 1.25  # side of the square around a person over the diameter of the circle around the body
_PEOPLE_SIDE, _JOINTS_SIDE = 224, 256
_STRIDES = ((8, 2), (16, 2), (32, 6))  # pixels between positions of the first network, and predictions per position
_LARGEST_LOGIT = 100.0
_ROWS = 39  # of the second network: joints, the middle of the hips, a point of the circle, and four that are not used
_MIDDLE, _RIM = 33, 34
_HEAT_REACH, _LEAST_HEAT = 3, 0.5  # radius in cells of the heat map around a joint, and minimum heat for its use


@dataclass(frozen=True)
class Sighting:
    """A person detected by the first network.

    Attributes:
        score: from 0 to 1.
        region: around the whole body, upright for the person.
    """

    score: float
    region: Region


@dataclass(frozen=True)
class BodyJoints:
    """The joints of a person in one image.

    Attributes:
        points: (33, 2) pixels.
        visibility: (33,) from 0 to 1, probability that the joint is in the image and not hidden.
        heat: (33,) from 0 to 1, the highest value of the joint's heat map near its position. presence: from 0 to 1,
            probability of a person. next_region: search region in the next frame. depth: (33,) meters farther away than
            the hip center, estimated from one image.
    """

    points: Array
    visibility: Array
    heat: Array
    presence: float
    next_region: Region
    depth: Array


def find_detector(name_or_folder: str | Path = DETECTOR) -> Path:
    """Folder of the weights; FileNotFoundError if it does not exist."""
    return find_release_folder(
        name_or_folder, kind="detector", marker="people.json", wanted="people.json and full.json"
    )


class PeopleFinder:
    """Detects people in squares of an image.

    Args:
        folder: of the weights.
        least_score: minimum score.
    """

    def __init__(self, folder: Path, *, least_score: float = 0.5) -> None:
        self._network = _prepared(load_graph(folder, "people"))
        self._least_score = least_score
        self._places = torch.from_numpy(_places())

    @torch.inference_mode()
    def __call__(self, picture: Image.Image, squares: Sequence[Region]) -> list[Sighting]:
        """All detections in upright squares of an image, by decreasing score; one person may occur several times."""
        found: list[Sighting] = []
        for square in squares:
            pixels = _as_input([cut_out(picture, square, _PEOPLE_SIDE)]) * 2 - 1
            results = self._network(pixels)
            scores = results["scores"][0, :, 0].clamp(-_LARGEST_LOGIT, _LARGEST_LOGIT).sigmoid()
            rows = torch.nonzero(scores >= self._least_score)[:, 0]
            points = results["boxes"][0, rows, 4:8].view(-1, 2, 2) / _PEOPLE_SIDE + self._places[rows, None]
            for score, pair in zip(scores[rows].tolist(), points.double().numpy(), strict=True):
                middle, rim = square.to_picture(pair)
                found.append(Sighting(score, Region.around(middle, rim, BODY_SCALE)))
        return sorted(found, key=lambda one: -one.score)


class JointFinder:
    """Detects the joints of people in regions of an image.

    Args:
        folder: of the weights.
        model: one of MODELS.

    Raises:
        FileNotFoundError: the folder lacks the model.
        ValueError: an unknown model.
    """

    def __init__(self, folder: Path, model: str = MODELS[0]) -> None:
        if model not in MODELS:
            raise ValueError(f"Unknown joint model '{model}'; known: {', '.join(MODELS)}.")
        if not (folder / f"{model}.json").is_file():
            raise FileNotFoundError(
                f"{folder} has no network '{model}'. Convert it with hmr4d prepare detector (docs/detect.md, The "
                f"networks), or use --detector {MODELS[0]}."
            )
        self._network = _prepared(load_graph(folder, model))

    @torch.inference_mode()
    def __call__(self, picture: Image.Image, regions: Sequence[Region]) -> list[BodyJoints]:
        """The joints in each region."""
        if not regions:
            return []
        results = self._network(_as_input([cut_out(picture, region, _JOINTS_SIDE) for region in regions]))
        rows = results["landmarks"].view(-1, _ROWS, 5)
        refined, heat = refine_by_heat(rows[..., :2] / _JOINTS_SIDE, results["heatmap"])
        places, heats = refined.double().numpy(), heat.double().numpy()
        seen = (rows[..., 3].sigmoid() * rows[..., 4].sigmoid()).double().numpy()
        depths = results["world"].view(-1, _ROWS, 3)[:, :NUM_JOINTS, 2].double().numpy()
        present = results["presence"].flatten().tolist()
        found: list[BodyJoints] = []
        for i, region in enumerate(regions):
            points = region.to_picture(places[i])
            found.append(
                BodyJoints(
                    points[:NUM_JOINTS],
                    seen[i, :NUM_JOINTS],
                    heats[i, :NUM_JOINTS],
                    present[i],
                    Region.around(points[_MIDDLE], points[_RIM], BODY_SCALE),
                    depths[i],
                )
            )
        return found


def refine_by_heat(places: Tensor, heatmap: Tensor) -> tuple[Tensor, Tensor]:
    """Joints refined to the center of the heat around them, if there is any.

    Args:
        places: (B, K, 2) fractions of the square.
        heatmap: (B, K, H, W) logits.

    Returns:
        (B, K, 2) positions; unchanged without heat or outside the map.
        (B, K) highest heat within reach, 0 outside the map.
    """
    H, W = heatmap.shape[2:]
    sizes = torch.tensor([W, H])
    cells = (places * sizes).floor().long()
    steps = torch.arange(-_HEAT_REACH, _HEAT_REACH + 1)
    rows, columns = cells[..., 1, None] + steps, cells[..., 0, None] + steps  # (B, K, 7)
    inside = ((rows >= 0) & (rows < H))[..., :, None] & ((columns >= 0) & (columns < W))[..., None, :]
    index = rows.clamp(0, H - 1)[..., :, None] * W + columns.clamp(0, W - 1)[..., None, :]
    heat = heatmap.flatten(2).gather(2, index.flatten(2)).view(index.shape).sigmoid() * inside
    in_map = ((cells >= 0) & (cells < sizes)).all(-1)
    highest = heat.amax((-1, -2)) * in_map
    total = heat.sum((-1, -2)).clamp_min(1e-9)
    middle = torch.stack([(heat.sum(-2) * columns).sum(-1) / total / W, (heat.sum(-1) * rows).sum(-1) / total / H], -1)
    return torch.where((highest >= _LEAST_HEAT)[..., None], middle, places), highest


def _places() -> NDArray[np.float32]:
    """(2254, 2) positions of the predictions of the first network as fractions of the square, row by row, coarser
    grids last."""
    rows: list[NDArray[np.float32]] = []
    for stride, guesses in _STRIDES:
        count = _PEOPLE_SIDE // stride
        middles = (np.arange(count) + 0.5) / count
        grid = np.stack(np.meshgrid(middles, middles), -1).reshape(-1, 2)
        rows.append(np.repeat(grid, guesses, axis=0).astype(np.float32))
    return np.concatenate(rows)


def _prepared(network: GraphNetwork) -> GraphNetwork:
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _as_input(pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    """(B, 3, H, W) values from 0 to 1, channels last in memory."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255

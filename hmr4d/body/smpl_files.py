"""Paths, download instructions and validation of the licensed models of the SMPL family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hmr4d.body.skeleton import SMPL22
from hmr4d.utils.places import inputs_folder

GENDERS = ("neutral", "male", "female")
MODEL_KEYS = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
_HANDS = tuple(
    f"{side}_{finger}{k}"
    for side in ("left", "right")
    for finger in ("index", "middle", "pinky", "ring", "thumb")
    for k in (1, 2, 3)
)


@dataclass(frozen=True)
class Family:
    """Common properties of the models of one family.

    Attributes:
        title: display name. joint_names: joint names in the order of the files.
        face_vertices: nose, left eye, right eye, left ear, right ear.
        download: name of the download on the site. site: address for registration.
    """

    title: str
    joint_names: tuple[str, ...]
    face_vertices: tuple[int, ...]
    download: str
    site: str


FAMILIES = {
    "smpl": Family(
        "SMPL",
        (*SMPL22.joint_names, "left_hand", "right_hand"),
        (332, 2800, 6260, 583, 4071),
        "SMPL for Python, version 1.1.0",
        "https://smpl.is.tue.mpg.de",
    ),
    "smplh": Family(
        "SMPL+H",
        (*SMPL22.joint_names, *_HANDS),
        (332, 2800, 6260, 583, 4071),
        "the extended SMPL+H model that AMASS uses",
        "https://mano.is.tue.mpg.de",
    ),
    "smplx": Family(
        "SMPL-X",
        (*SMPL22.joint_names, "jaw", "left_eye", "right_eye", *_HANDS),
        (9120, 9448, 9929, 6, 616),
        "SMPL-X v1.1 (NPZ+PKL)",
        "https://smpl-x.is.tue.mpg.de",
    ),
}


def body_models_folder() -> Path:
    """Where licensed models are looked for: `checkpoints/body_models` of the user's inputs."""
    return inputs_folder() / "checkpoints" / "body_models"


def model_places(family: str, gender: str, folder: str | Path) -> list[Path]:
    """Possible files of a model, the preferred one first.

    For SMPL+H, the extended model `<gender>/model.npz`, to whose shape space AMASS is fitted, is first.
    """
    names = [f"{gender}/model.npz"] if family == "smplh" else []
    names += [f"{family.upper()}_{g}.{ending}" for ending in ("npz", "pkl") for g in (gender.upper(), gender)]
    if family == "smpl":
        names += [f"basicmodel_{gender[0]}_lbs_10_207_0_v1.1.0.pkl", f"basicmodel_{gender}_lbs_10_207_0_v1.1.0.pkl"]
    return [place / name for place in (Path(folder) / family, Path(folder)) for name in names]


def find_models(wanted: Sequence[tuple[str, str]], folder: str | Path | None = None) -> list[Path]:
    """Files of the models wanted, as (family, gender) pairs.

    Raises:
        ValueError: unknown family or gender.
        FileNotFoundError: names all missing models, where each was looked for first, and how to get it.
    """
    folder = body_models_folder() if folder is None else Path(folder)
    found, missing = [], []
    for family, gender in wanted:
        if family not in FAMILIES or gender not in GENDERS:
            raise ValueError(f"Unknown body '{family}' {gender}; known: {', '.join(FAMILIES)}; {', '.join(GENDERS)}.")
        places = model_places(family, gender, folder)
        path = next((p for p in places if p.is_file()), None)
        if path is None:
            about = FAMILIES[family]
            missing.append(
                f"{places[0]} ({about.title}, {gender}: register at {about.site}, download {about.download})"
            )
        else:
            found.append(path)
    if missing:
        raise FileNotFoundError(
            f"Body model not found: {'; '.join(missing)}. Put the files there; see docs/body_models.md. The "
            "bodies 'anny' and 'stick' need no files."
        )
    return found


def check_smpl_arrays(path: str | Path, arrays: Mapping[str, np.ndarray], family: str) -> tuple[int, ...]:
    """Parents of the joints, -1 for the root, if the arrays are those of a family.

    Args:
        path: their file, for the message.
        arrays: `v_template`, `kintree_table` and any others of MODEL_KEYS.
        family: key of FAMILIES.

    Raises:
        ValueError: wrong shapes or joint tree; the message lists all wrong shapes.
    """
    about = FAMILIES[family]
    num_joints, num_vertices = len(about.joint_names), len(arrays["v_template"]) if arrays["v_template"].ndim else 0
    wanted = {
        "v_template": (num_vertices, 3),
        "f": (None, 3),
        "shapedirs": (num_vertices, 3, None),
        "posedirs": (num_vertices, 3, 9 * (num_joints - 1)),
        "J_regressor": (num_joints, num_vertices),
        "weights": (num_vertices, num_joints),
        "kintree_table": (2, num_joints),
    }
    wanted = {key: shape for key, shape in wanted.items() if key in arrays}
    wrong = [
        f"{key} {arrays[key].shape}, expected {shape}"
        for key, shape in wanted.items()
        if arrays[key].ndim != len(shape)
        or any(s is not None and s != n for s, n in zip(shape, arrays[key].shape, strict=True))
    ]
    advice = f"Give the model of {about.site}."
    if wrong:
        raise ValueError(f"{path} is no {about.title} model: {'; '.join(wrong)}. {advice}")
    parents = (-1, *(int(p) for p in arrays["kintree_table"][0, 1:]))
    if parents[: SMPL22.num_joints] != SMPL22.parents or any(not 0 <= p < c for c, p in enumerate(parents) if c):
        raise ValueError(f"{path} is no {about.title} model: its joint tree {parents} is another one. {advice}")
    numbers = {k: arrays[k] for k in wanted if k != "kintree_table"}
    if bad := [k for k, a in numbers.items() if not np.isfinite(a).all()]:
        raise ValueError(
            f"{path} is damaged: {', '.join(bad)} contains numbers that are not finite. Download it again."
        )
    faces = arrays.get("f", np.zeros(0))
    if faces.size and not 0 <= int(faces.min()) <= int(faces.max()) < num_vertices:
        raise ValueError(f"{path} is damaged: its faces refer to missing vertices. Download it again.")
    return parents

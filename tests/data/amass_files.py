"""A made-up HumanML3D to be: AMASS and HumanAct12 files, index.csv, texts, split lists and body models.

Layout, names and types are those of the true downloads; the motion is a slow wobble of a made-up body.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hmr4d.data.importers.humanml3d_inventory import Places
from tests.body.smplh_file import smplh_arrays, write_smplh

# name -> (source, start, end)
ROWS = {
    "000000": ("./pose_data/KIT/3/walk_01_poses.npy", 0, 30),
    "000001": ("./pose_data/KIT/3/walk_01_poses.npy", 10, 60),
    "000002": ("./pose_data/Eyes_Japan_Dataset/hamada/a dance_poses.npy", 5, 40),
    "000003": ("./pose_data/BioMotionLab_NTroje/rub001/0000_tread_poses.npy", 0, 45),
    "000004": ("./pose_data/humanact12/humanact12/P01G01R01F0001T0064A0101.npy", 0, -1),
}
RATES = {"KIT": 100.0, "Eyes_Japan_Dataset": 59.0, "BioMotionLab_NTroje": 120.0}
GENDERS: dict[str, Any] = {
    "KIT": np.array("male"),
    "Eyes_Japan_Dataset": np.array(b"male"),
    "BioMotionLab_NTroje": np.array("female"),
}
FRAMES = {"KIT": 330, "Eyes_Japan_Dataset": 220, "BioMotionLab_NTroje": 300}


def amass_arrays(subset: str) -> dict[str, Any]:
    """Arrays of a motion file of a subset."""
    rng = np.random.default_rng(sorted(RATES).index(subset))
    time = np.linspace(0, 6, FRAMES[subset])[:, None]
    poses = 0.25 * np.sin(time * rng.uniform(0.3, 1, 156) + rng.uniform(0, 6, 156))
    poses[:, :3] += [np.pi / 2, 0, 0]  # stands upright in a world with z up
    transl = np.concatenate([0.3 * time, 0.1 * np.sin(time), np.full_like(time, 0.95)], 1)
    return {
        "poses": poses,
        "trans": transl,
        "betas": rng.normal(size=16),
        "dmpls": np.zeros((len(time), 8)),
        "gender": GENDERS[subset],
        "mocap_framerate": np.array(RATES[subset]),
    }


def humanact12_joints() -> np.ndarray:
    """(36, 24, 3) joints, meters, y up: a standing body that drifts, hands folded into two points."""
    rest = smplh_arrays("male")
    joints = (rest["J_regressor"] @ rest["v_template"])[:24] + [0, 0.95, 0]
    time = np.linspace(0, 2, 36)[:, None, None]
    return (joints + 0.05 * np.sin(time * (1 + np.arange(24)[:, None])) + time * [0.2, 0, 0.1]).astype(np.float32)


def npz_bytes(arrays: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def npz_path(source: str) -> str:
    return source.removeprefix("./pose_data/").replace(".npy", ".npz")


def write_parts(root: Path) -> Places:
    """KIT unpacked, Eyes_Japan_Dataset as an archive, BMLrub as a folder with its newer name; the rest as zip files."""
    amass = root / "amass"
    for source in {source for source, *_ in ROWS.values()}:
        if "humanact12" in source:
            continue
        subset = source.split("/")[2]
        path = npz_path(source)
        content = npz_bytes(amass_arrays(subset))
        if subset == "Eyes_Japan_Dataset":
            amass.mkdir(parents=True, exist_ok=True)
            with tarfile.open(amass / "EyesJapanDataset.tar.bz2", "w:bz2") as archive:
                for name, data in ((path, content), (f"{subset}/hamada/shape.npz", npz_bytes({"betas": np.zeros(16)}))):
                    entry = tarfile.TarInfo(name)
                    entry.size = len(data)
                    archive.addfile(entry, io.BytesIO(data))
        else:
            target = amass / path.replace("BioMotionLab_NTroje", "BMLrub")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    stream = io.BytesIO()
    np.save(stream, humanact12_joints())
    with zipfile.ZipFile(root / "humanact12.zip", "w") as archive:
        archive.writestr("humanact12/humanact12/P01G01R01F0001T0064A0101.npy", stream.getvalue())
        archive.writestr("__MACOSX/humanact12/._P01G01R01F0001T0064A0101.npy", b"junk")
    write_texts(root)
    return Places(
        amass=amass,
        index=write_index(root / "index.csv", ROWS),
        texts=root / "texts.zip",
        out=root / "out",
        body_models=write_smplh(root / "body_models"),
        humanact12=root / "humanact12.zip",
    )


def write_index(path: Path, rows: Mapping[str, tuple[str, int, int]]) -> Path:
    lines = [f"{source},{start},{end},{name}.npy" for name, (source, start, end) in rows.items()]
    path.write_text("\n".join(["source_path,start_frame,end_frame,new_name", *lines]) + "\n", encoding="utf-8")
    return path


def write_texts(root: Path) -> None:
    """Texts of all clips; of the mirrored ones only that of 000001. Split lists beside them."""
    with zipfile.ZipFile(root / "texts.zip", "w") as archive:
        for name in ROWS:
            line = "a man lifts his left leg, then turns clockwise.#a/DET man/NOUN left/ADJ clockwise/ADV#0.0#0.0\n"
            archive.writestr(f"texts/{name}.txt", line + "he stays upright.#he/PRON stay/VERB upright/ADV#nan#1.5\n")
        archive.writestr("texts/M000001.txt", "written by hand: right.#right/ADJ#0.0#0.0\n")
    for split, names in {"train": ["000000", "M000000", "000001", "M000001"], "test": ["000002", "M000002"]}.items():
        (root / f"{split}.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")

"""Common files without readable 2D keypoints: messages about their format, and alternatives."""

from __future__ import annotations

from pathlib import Path

_JSON = "Export JSON or .npz instead; docs/lift.md shows them."
_3D = "It has 3D motion already, so lifting is not needed: pass the 2D keypoints of one camera."
_BY_SUFFIX = {
    ".h5": f"it is an HDF5 file (DeepLabCut, SLEAP). Write DeepLabCut's CSV instead (save_as_csv=True). {_JSON}",
    ".hdf5": f"it is an HDF5 file (DeepLabCut, SLEAP). Write DeepLabCut's CSV instead (save_as_csv=True). {_JSON}",
    ".slp": f"it is a SLEAP file. {_JSON}",
    ".trc": f"it is a TRC file: 3D marker positions, as of Pose2Sim or OpenSim. {_3D}",
    ".c3d": f"it is a C3D file: 3D markers of motion capture. {_3D}",
    ".bvh": f"it is a BVH file: a 3D skeleton's motion. {_3D}",
    ".fbx": f"it is an FBX file: a 3D scene. {_3D}",
    ".glb": f"it is a glTF file: a 3D scene. {_3D}",
    ".mot": f"it is an OpenSim motion file: joint angles. {_3D}",
    ".sto": f"it is an OpenSim storage file. {_3D}",
    ".xml": f"it is an XML file (CVAT, LabelMe). {_JSON}",
    ".mat": f"it is a MATLAB file. {_JSON}",
    ".parquet": f"it is a Parquet table. {_JSON}",
    ".txt": "it is a text file. YOLO's labels (save_txt) contain no frame size and no joints; save the results as JSON "
    "instead (Ultralytics: results[i].to_json()). docs/lift.md lists the supported formats.",
    ".yaml": "it is a YAML file, as of a camera; the first argument is the keypoints.",
    ".yml": "it is a YAML file, as of a camera; the first argument is the keypoints.",
    ".toml": "it is a TOML file, as of a camera or of settings; the first argument is the keypoints.",
    ".zip": "it is an archive. Unpack it, and give the folder or the file in it.",
    ".gz": "it is packed. Unpack it first.",
    ".task": "it is a model of MediaPipe, not its result. Run it on the video, and save the landmarks as JSON.",
    ".onnx": "it is a network, not its result. Run it on the video, and save the keypoints as JSON.",
}
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_BEGINNINGS = {
    b"\x89HDF\r\n": ".h5",
    b"PathFileType": ".trc",
    b"HIERARCHY": ".bvh",
    b"PK\x03\x04": ".zip",
    b"\x1f\x8b": ".gz",
    b"glTF": ".glb",
    b"Kaydara FBX": ".fbx",
    b"PAR1": ".parquet",
}


def other_file(path: Path) -> str | None:
    """Message about an unsupported file and the alternative; None for other files."""
    suffix = path.suffix.lower()
    if suffix in (".pkl", ".pickle", ".pt", ".pth"):
        return "pickled keypoints are not read. Save them as .npz with kp2d (L, J, 2) and kp2d_conf (L, J)."
    if suffix in _PICTURES:
        return "it is an image. This command needs the keypoints of a pose detector in all frames of a video."
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    with path.open("rb") as file:
        head = file.read(16)
    if suffix in (".npz", ".npy"):
        return None
    return next((_BY_SUFFIX[kind] for beginning, kind in _BEGINNINGS.items() if head.startswith(beginning)), None)

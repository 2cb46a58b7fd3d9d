"""Licensed `.pkl` body models as `.npz`: plain arrays that load quickly, without chumpy and without unpickling."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hmr4d.body.model_files import read_all_arrays
from hmr4d.body.smpl_files import FAMILIES, MODEL_KEYS, check_smpl_arrays
from hmr4d.utils.files import atomic_path

_RESERVED = ("file", "args", "kwds", "allow_pickle")  # arguments of the function that writes


@dataclass(frozen=True)
class Conversion:
    """Result of a conversion.

    Attributes:
        path: the file written.
        family: key of FAMILIES.
        num_vertices: of the mesh.
        num_betas: coefficients in `shapedirs`, facial expression included.
        left_out: skipped entries: not numeric arrays, such as strings and tables of names, or without a plain name.
    """

    path: Path
    family: str
    num_vertices: int
    num_betas: int
    left_out: tuple[str, ...]


def convert_model(source: str | Path, target: str | Path | None = None) -> Conversion:
    """Writes all arrays of a SMPL, SMPL+H or SMPL-X `.pkl` into an `.npz`, in their own types.

    Args:
        source: the `.pkl`, with chumpy nodes and sparse matrices inside or not.
        target: file to write; None: in the folder of the source, with the same name.

    Raises:
        FileNotFoundError: the file does not exist. ValueError: the file is no pickle, or no model of these families;
            the message lists all problems.
    """
    source = Path(source)
    target = source.with_suffix(".npz") if target is None else Path(target)
    if source.suffix == ".npz":
        raise ValueError(f"{source} is an .npz already; there is nothing to convert.")
    if target.suffix != ".npz":
        raise ValueError(f"{target}: the result is an .npz file; use a name with the suffix .npz.")
    arrays, left_out = read_all_arrays(source)
    strange = [key for key in arrays if not key.isidentifier() or key in _RESERVED]
    arrays = {key: array for key, array in arrays.items() if key not in strange}
    if missing := [key for key in MODEL_KEYS if key not in arrays]:
        raise ValueError(f"{source} is no model of the SMPL family: it has no array {', '.join(missing)}.")
    num_joints = arrays["kintree_table"].shape[-1] if arrays["kintree_table"].ndim else 0
    sizes = {len(family.joint_names): key for key, family in FAMILIES.items()}
    if num_joints not in sizes:
        known = ", ".join(f"{FAMILIES[key].title} {size}" for size, key in sizes.items())
        raise ValueError(f"{source} has {num_joints} joints, which is no body known here ({known}).")
    check_smpl_arrays(source, arrays, sizes[num_joints])
    with atomic_path(target) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)
    return Conversion(
        target,
        sizes[num_joints],
        len(arrays["v_template"]),
        arrays["shapedirs"].shape[-1],
        tuple(sorted([*left_out, *strange])),
    )

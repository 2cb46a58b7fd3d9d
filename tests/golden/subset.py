"""Makes the tracked subset of the golden vectors: `python -m tests.golden.subset ../shared/golden`.

Small files are copied whole. Of a large archive only the named arrays are kept; their values are not changed. The
subset holds nothing made from the files of a dataset or a body model; tests/data/golden/README.md says what it proves.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import numpy as np

SUBSET = Path(__file__).resolve().parents[1] / "data" / "golden"
MAX_BYTES = 3_000_000

WHOLE = (
    "motion2to3_state_dict_2d.json",
    "motion2to3_state_dict_mv.json",
    "motion2to3/SEED.txt",
    "motion2to3/camera_projection.npz",
    "motion2to3/denoiser_inputs.npz",
    "motion2to3/denoiser_outputs_small.npz",
    "motion2to3/dumper.npz",
    "motion2to3/scheduler.npz",
    "motion2to3/transforms.npz",
    "motion2to3/triangulation.npz",
    "motion2to3/weights_recipe_abs_sums.json",
    "humanml3d/dataset_v2.json",
    "humanml3d/m2t3_metrics.json",
    "humanml3d/metrics.json",
    "humanml3d/metrics_scipy1.10.json",
    "humanml3d/quat_ops.npz",
    "humanml3d/recover_random.npz",
    "humanml3d/word_vectorizer.json",
    "mocap_metrics/canonical_rig.npz",
    "mocap_metrics/codec_landscape_square.npz",
    "mocap_metrics/codec_landscape_tight.npz",
    "mocap_metrics/codec_portrait_square.npz",
    "mocap_metrics/codec_portrait_tight.npz",
    "mocap_metrics/op18_window120.npz",
    "mocap_metrics/pointmap_horizon_wide_roll.npz",
    "mocap_metrics/pointmap_looking_up_all_invalid.npz",
    "mocap_metrics/pointmap_main_pitch15.npz",
    "mocap_metrics/pointmap_side_portrait_roll.npz",
    "mocap_metrics/pointmap_straight_down.npz",
    "mocap_metrics/smpl22_single_chunk.npz",
    "mocap_metrics/smpl24_masked.npz",
    "mocap_metrics/smpl24_mirrored_pred.npz",
    "mocap_metrics/smpl24_static_target.npz",
    "mocap_metrics/triangulation.npz",
    "k2m/ema_quantizer_small.npz",
    "k2m/keys_residual_transformer_small_shared.json",
    "k2m/keys_rvq_small.json",
    "k2m/residual_transformer_small_shared.npz",
    "k2m/rvq_small.npz",
    "k2m/transformer_functions.npz",
)

# Archive: pattern of the arrays that are kept.
PARTS = {
    "motion2to3/endecoder.npz": r"ALL_200H_NR_.*",
    # Conditions, the noise of every step, the results, and of the multi-view groups the first step on the way.
    "motion2to3/sampling_mv.npz": r"[^/]+|(?!mv_indep)[^/]+/(pred_.*|w_p3d_step0|step0_call\d_x0)",
    "motion2to3/sampling_mas.npz": r"[^/]+|[^/]+/(pred_.*|w_p3d_step0)",
    "humanml3d/metrics.npz": r"(?!mm_|multimodality).*",
    "humanml3d/rep_synth.npz": r"(f32|still|T2|T3)__.*",
}


def make_subset(source: Path, target: Path) -> int:
    """Writes the subset of the vectors below `source` to `target`; returns its size in bytes."""
    if missing := [name for name in (*WHOLE, *PARTS) if not (source / name).is_file()]:
        raise FileNotFoundError(f"{source} lacks {', '.join(missing)}; give the folder of all golden vectors.")
    for name in (*WHOLE, *PARTS):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
    for name in WHOLE:
        if name.endswith(".npz"):
            shutil.copyfile(source / name, target / name)
        else:  # text files of this repository end with a new line
            (target / name).write_text((source / name).read_text("utf-8").rstrip("\n") + "\n", encoding="utf-8")
    for name, pattern in PARTS.items():
        with np.load(source / name, allow_pickle=False) as data:
            kept = {key: data[key] for key in data.files if re.fullmatch(pattern, key)}
        np.savez_compressed(target / name, **kept)
    return sum((target / name).stat().st_size for name in (*WHOLE, *PARTS))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Give the folder of all golden vectors, for example: python -m tests.golden.subset ../shared/golden")
    size = make_subset(Path(sys.argv[1]), SUBSET)
    if size > MAX_BYTES:
        sys.exit(f"{SUBSET} has {size:,} bytes, at most {MAX_BYTES:,} are tracked; name fewer files in {__file__}.")

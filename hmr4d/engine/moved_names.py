"""Class paths of earlier versions, so that the saved configuration of an older run is still understood."""

from __future__ import annotations

from collections.abc import Mapping

MOVED_MODULES: Mapping[str, str] = {
    "hmr4d.callbacks.body_fitter": "hmr4d.engine.callbacks.body_fitter",
    "hmr4d.callbacks.ema": "hmr4d.engine.callbacks.ema",
    "hmr4d.callbacks.metric_lift": "hmr4d.evaluation.callbacks.metric_lift",
    "hmr4d.callbacks.metric_t2m": "hmr4d.evaluation.callbacks.metric_t2m",
    "hmr4d.callbacks.motion_writer": "hmr4d.engine.callbacks.motion_writer",
    "hmr4d.callbacks.result_dumper": "hmr4d.engine.callbacks.result_dumper",
    "hmr4d.callbacks.wis3d_visualizer": "hmr4d.evaluation.callbacks.wis3d_visualizer",
    "hmr4d.data.keypoint_corruption": "hmr4d.data.lifting.corruptions",
    "hmr4d.data.lifting_rigs": "hmr4d.camera.rig_samplers",
    "hmr4d.data.lifting_tracks": "hmr4d.data.lifting.tracks",
    "hmr4d.data.lifting_views": "hmr4d.data.lifting.views",
    "hmr4d.data.rigs": "hmr4d.camera.orbit_rigs",
    "hmr4d.data.scored_clips": "hmr4d.evaluation.text_to_motion_data",
    "hmr4d.data.scored_lifts": "hmr4d.evaluation.lifting_data",
    "hmr4d.data.site_rigs": "hmr4d.camera.site_rigs",
    "hmr4d.metrics.evaluators.evaluator": "hmr4d.evaluators.evaluator",
    "hmr4d.metrics.evaluators.features_data": "hmr4d.evaluators.features_data",
    "hmr4d.metrics.evaluators.objectives": "hmr4d.evaluators.objectives",
    "hmr4d.metrics.evaluators.scoring": "hmr4d.evaluation.scoring",
    "hmr4d.metrics.evaluators.training": "hmr4d.evaluators.training",
    "hmr4d.models.mocap2to3.denoiser": "hmr4d.methods.mocap2to3.denoiser",
    "hmr4d.models.mocap2to3.module": "hmr4d.methods.mocap2to3.module",
    "hmr4d.models.mocap2to3.options": "hmr4d.methods.mocap2to3.options",
    "hmr4d.models.mocap2to3.pipeline": "hmr4d.methods.mocap2to3.pipeline",
    "hmr4d.models.motion2to3.denoiser": "hmr4d.methods.motion2to3.denoiser",
    "hmr4d.models.motion2to3.module": "hmr4d.methods.motion2to3.module",
    "hmr4d.models.motion2to3.options": "hmr4d.methods.motion2to3.options",
    "hmr4d.models.motion2to3.patch_denoiser": "hmr4d.methods.motion2to3.patch_denoiser",
    "hmr4d.models.motion2to3.pipeline": "hmr4d.methods.motion2to3.pipeline",
}


def current_target(target: str) -> str:
    """The path of a class today, for its path in this version or in an earlier one."""
    module, _, name = target.rpartition(".")
    return f"{MOVED_MODULES[module]}.{name}" if module in MOVED_MODULES else target

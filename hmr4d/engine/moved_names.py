"""Names of earlier versions: class paths in saved configurations, and choices on the command line."""

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
}
MOVED_CLASSES: Mapping[str, str] = {
    **{
        f"{module}.{name}": f"hmr4d.evaluation.lifting_clips.{name}"
        for module in ("hmr4d.data.scored_lifts", "hmr4d.evaluation.lifting_data")
        for name in ("StoreClips", "aistpp_clips", "rich_clips")
    },
    "hmr4d.representation.view_points.ViewPointCodec": "hmr4d.representation.image_pose2d.ImagePose2DCodec",
    "hmr4d.representation.view_tokens.ViewTokenCodec": "hmr4d.representation.bbox_pose2d.BboxPose2DCodec",
}
# Renamed groups and choices of the command line: "group=choice" or "group" -> current name.
RENAMED_CHOICES: Mapping[str, str] = {
    "ground_hints": "foot_contact_conditioning",
    "network=mini": "network=tiny",
    "network=narrow": "network=small",
    "network=study": "network=96x3",
    "representation=view_points": "representation=image_pose2d",
    "representation=view_tokens": "representation=bbox_pose2d",
    "representation=view_tokens_coco17": "representation=bbox_pose2d_coco17",
    "rigs=alone": "rigs=single",
    "rigs=captured4": "rigs=calibrated4",
    "rigs=composed4": "rigs=calibrated_intrinsics4",
    "rigs=observed": "rigs=single_conditioned",
    "rigs=surrounding4": "rigs=random4",
}
# Renamed packages: their content has the same names in the new package.
MOVED_ROOMS: Mapping[str, str] = {"hmr4d.models.": "hmr4d.methods."}


def current_target(target: str) -> str:
    """The current path of a class, given its path in this or an earlier version."""
    if target in MOVED_CLASSES:
        return MOVED_CLASSES[target]
    module, _, name = target.rpartition(".")
    if module in MOVED_MODULES:
        return f"{MOVED_MODULES[module]}.{name}"
    for earlier, now in MOVED_ROOMS.items():
        if target.startswith(earlier):
            return now + target.removeprefix(earlier)
    return target

"""Default models and experiments of commands and functions, from `configs/defaults.yaml`."""

from __future__ import annotations

import yaml

from hmr4d.utils.places import shipped_folder

_DEFAULTS: dict[str, str] = yaml.safe_load((shipped_folder("configs") / "defaults.yaml").read_text("utf-8"))

TEXT_MODEL, LIFTING_MODEL = _DEFAULTS["text_model"], _DEFAULTS["lifting_model"]
FIRST_STAGE, SECOND_STAGE = _DEFAULTS["first_stage"], _DEFAULTS["second_stage"]
STATISTICS_EXPERIMENT = _DEFAULTS["statistics_experiment"]
FORMAT_PREFIX = "hmr4d-"  # prefix of the `format` of a release, followed by the name of the method

"""Default models and experiments of commands and functions, defined only here, and the detection of releases."""

TEXT_MODEL = "motion2to3-everyday"  # samples motion from text
LIFTING_MODEL = "ray-lifting"  # lifts 2D keypoints
FIRST_STAGE, SECOND_STAGE = "motion2to3/pretrain_2d", "motion2to3/finetune_mv"  # experiments in help texts
STATISTICS_EXPERIMENT = SECOND_STAGE  # experiment whose items `hmr4d prepare statistics` measures
FORMAT_PREFIX = "hmr4d-"  # prefix of the `format` of a release, followed by the name of the method

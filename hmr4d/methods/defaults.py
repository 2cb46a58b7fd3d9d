"""What commands and functions use where the user names no model and no experiment; the one place that names
them, and how releases are told apart."""

TEXT_MODEL = "motion2to3-everyday"  # samples motion from text
LIFTING_MODEL = "ray-lifting"  # lifts 2D keypoints
FIRST_STAGE, SECOND_STAGE = "motion2to3/pretrain_2d", "motion2to3/finetune_mv"  # experiments that help texts show
STATISTICS_EXPERIMENT = SECOND_STAGE  # whose items `hmr4d prepare statistics` measures
FORMAT_PREFIX = "hmr4d-"  # of the `format` of a release, before the name of its method

"""What commands and functions use where the user names no model and no experiment; the one place that names them."""

TEXT_MODEL = "motion2to3-bandai"  # samples motion from text
LIFTING_MODEL = "mocap2to3-bandai"  # lifts 2D keypoints
STATISTICS_EXPERIMENT = "motion2to3/finetune_mv"  # whose items `prepare.py statistics` measures

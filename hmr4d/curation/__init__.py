"""MotionWeb: converts videos or keypoint files to captioned 2D clips for training."""

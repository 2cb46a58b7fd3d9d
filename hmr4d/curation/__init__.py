"""MotionWeb: from people's own videos or keypoint files to captioned 2D clips to train on."""

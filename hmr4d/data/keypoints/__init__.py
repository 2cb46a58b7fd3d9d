"""Files of 2D keypoints as pose detectors write them."""

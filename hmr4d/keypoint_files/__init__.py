"""Readers of 2D keypoints, whatever wrote them, and what is mended in them."""

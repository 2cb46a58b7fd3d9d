"""Lifting of people from a video, or from a keypoint file and a camera file, to motion files with a verdict."""

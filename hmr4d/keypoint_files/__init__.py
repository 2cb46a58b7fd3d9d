"""Readers for 2D keypoint files of any source, and corrections of their content."""

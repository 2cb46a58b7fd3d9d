"""Readers of 3D motion files: BVH, ASF/AMC."""

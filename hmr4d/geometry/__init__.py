"""Rotations, cameras, triangulation, the ground plane."""

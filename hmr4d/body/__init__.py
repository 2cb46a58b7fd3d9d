"""Skeletons, body models, kinematics, inverse kinematics, fitting."""

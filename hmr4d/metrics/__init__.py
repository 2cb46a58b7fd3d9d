"""Measures of motion and of sets of motions, with their intervals."""

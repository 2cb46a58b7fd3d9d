"""Captured data sets that lifting is scored on: RICH and AIST++."""

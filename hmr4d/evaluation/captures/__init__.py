"""Captured data sets for the evaluation of lifting: RICH and AIST++."""

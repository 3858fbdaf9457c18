"""Metrics, their intervals and comparisons, calibration and cross-validation."""

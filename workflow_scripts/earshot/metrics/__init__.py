"""Metrics of stored predictions: accuracy, calibration, and how far chance explains a difference. NumPy only, off the GPU."""

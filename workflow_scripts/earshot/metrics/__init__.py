"""Metrics of stored predictions: accuracy, and how far chance explains a difference. NumPy only; never inside a GPU job."""

"""Earshot: how far sound can help video models when the picture fails.

The library behind the Snakemake workflow: every rule runs one thin script, every script calls one function from here.
Axis letters are fixed throughout: B batch, V views, T frames or segments, C channels, H, W, K classes, A audio classes,
N audio samples, L layers, D features.
"""

__version__ = "0.1.0"

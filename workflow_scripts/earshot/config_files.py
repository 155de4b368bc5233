"""Reads a config from its files, for what runs beside Snakemake, which hands the workflow a config that is read already."""

import functools
from collections.abc import Sequence
from pathlib import Path

import yaml

from earshot.config import Config, load, merged


def read(paths: Sequence[str | Path]) -> Config:
    """A config of files, each laid over the ones before it; raises ConfigError."""
    values = [yaml.safe_load(Path(path).read_text(encoding="utf-8")) for path in paths]
    return load(functools.reduce(merged, values))

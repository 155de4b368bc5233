"""Try a grid of hyper-parameters of methods on held-out clips."""

from typing import TYPE_CHECKING

from earshot import trials
from earshot.config import runtime_of
from earshot.jobs import job_log
from earshot.streaming import CellInputs

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    cell = dict(snakemake.params.cell)
    grid, methods, seed = cell.pop("grid"), cell.pop("methods"), cell.pop("seed")
    inputs = CellInputs.of(snakemake.input, snakemake.params.codes, cell, runtime_of(snakemake.config))
    trials.try_all(inputs, methods, grid, seed, snakemake.output.trials)

"""Adapt to the clips of one cell with every method and seed, and predict them."""

from typing import TYPE_CHECKING

from earshot import streaming
from earshot.config import runtime_of
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    runtime = runtime_of(snakemake.config)
    inputs = streaming.CellInputs.of(snakemake.input, snakemake.params.codes, snakemake.params.cell, runtime)
    streaming.adapt_cell(
        inputs,
        runs=snakemake.params.runs,
        tuned=str(snakemake.input.get("tuned") or ""),
        facts={**dict(snakemake.wildcards.items()), "severity": int(snakemake.wildcards.severity)},
        out=snakemake.output.predictions,
        timing_out=snakemake.output.timings,
    )

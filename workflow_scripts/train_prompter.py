"""Train the modules between two frozen encoders, and the head of a task."""

from typing import TYPE_CHECKING

from earshot import prompting
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    prompting.train(
        prompting.inputs_of(snakemake),
        out=snakemake.output.weights,
        metrics_out=snakemake.output.training,
        costs_out=snakemake.output.costs,
    )

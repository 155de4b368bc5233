"""Train an audio-visual video parser."""

from typing import TYPE_CHECKING

from earshot import parsing
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    inputs = parsing.inputs_of(snakemake)
    parsing.train(inputs, snakemake.output.best, snakemake.output.last, snakemake.output.training)

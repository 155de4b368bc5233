"""Train small encoders on classified clips."""

from typing import TYPE_CHECKING

from earshot import encoder_training
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    encoder_training.train(
        encoder_training.inputs_of(snakemake), out=snakemake.output.weights, metrics_out=snakemake.output.training
    )

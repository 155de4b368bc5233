"""Draw the weights of encoders that are never trained."""

from typing import TYPE_CHECKING

from earshot import encoder_weights
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    encoder_weights.initialise_encoders(snakemake.params.job, snakemake.output.weights)

"""Take over published weights of prompting modules and their head."""

from typing import TYPE_CHECKING

from earshot import prompting
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    prompting.import_weights(prompting.inputs_of(snakemake), snakemake.input.manifest, snakemake.output.weights)

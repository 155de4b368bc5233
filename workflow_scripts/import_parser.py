"""Take the published weights of an audio-visual video parser."""

from typing import TYPE_CHECKING

from earshot import parsing
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    parsing.import_weights(parsing.inputs_of(snakemake), snakemake.input.manifest, snakemake.output.weights)

"""Take the published weights of an audio-visual video parser."""

from typing import TYPE_CHECKING

from earshot import parsing
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    inputs = parsing.inputs_of(snakemake)
    parsing.import_weights(inputs, snakemake.input.manifest, snakemake.params.space, snakemake.output.weights)

"""Compare two label maps of a dataset and an audio model."""

from typing import TYPE_CHECKING

from earshot import map_agreement
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    map_agreement.compare(snakemake.input.one, snakemake.input.other, snakemake.output.text)

"""Put the parts of a corrupted set, made by several jobs, into one table."""

from typing import TYPE_CHECKING

from earshot import synthesis
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    synthesis.gather(snakemake.input.shards, snakemake.input.clips, snakemake.output.clips)

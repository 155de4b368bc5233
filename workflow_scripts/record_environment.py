"""Record what an experiment ran on."""

from typing import TYPE_CHECKING

from earshot import environment
from earshot.files import write_json
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    write_json(snakemake.output.environment, environment.describe(snakemake.params.config))

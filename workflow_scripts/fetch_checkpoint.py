"""Make the files of a published checkpoint available."""

from typing import TYPE_CHECKING

from earshot import importing
from earshot.config import runtime_of
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    importing.fetch(
        snakemake.params.checkpoint,
        snakemake.params.folder,
        runtime_of(snakemake.config)["offline"],
        snakemake.output.manifest,
    )

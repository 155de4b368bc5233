"""Take published corrupted files as the corrupted version of a dataset."""

from typing import TYPE_CHECKING

from earshot import published_corruptions
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    published_corruptions.take(
        snakemake.input.clips,
        snakemake.params.splits,
        snakemake.wildcards.corruption,
        snakemake.params.published,
        snakemake.threads,
        snakemake.params.code,
        snakemake.output.clips,
    )

"""Write one page over the reports of all targets."""

from typing import TYPE_CHECKING

from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    from earshot import overview

    overview.write(snakemake.input.summaries, snakemake.output.html)

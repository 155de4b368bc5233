"""Import published source statistics."""

from typing import TYPE_CHECKING

from earshot import statistics
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    statistics.import_published(
        mean=snakemake.input.mean,
        var=snakemake.input.var,
        backbone=snakemake.params.backbone,
        classes=snakemake.input.classes,
        out=snakemake.output.statistics,
    )

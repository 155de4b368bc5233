"""Write what there is to say of a label map on one page."""

from typing import TYPE_CHECKING

from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    from earshot import map_report

    map_report.write(
        label_map=snakemake.input.label_map,
        classes=snakemake.input.classes,
        title=snakemake.params.title,
        out=snakemake.output.html,
    )

"""Write what was found of a dataset, and what is wrong with it."""

from typing import TYPE_CHECKING

from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    from earshot import data_report

    data_report.write(
        clips=snakemake.input.clips,
        classes=snakemake.input.classes,
        findings=snakemake.input.findings,
        html_out=snakemake.output.html,
        markdown_out=snakemake.output.markdown,
    )

"""Write the report of a prompting experiment: one HTML page that needs nothing else."""

from typing import TYPE_CHECKING

from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    from earshot import prompt_report, prompt_tables

    given, params = snakemake.input, snakemake.params
    paths = prompt_report.Paths(
        metrics=given.metrics,
        figures=given.figures,
        prompted=given.prompted,
        training=given.training,
        costs=given.costs,
        clips=given.clips,
        classes=given.classes,
        environment=given.environment,
        files=params.files,
    )
    prompt_report.write(paths, prompt_tables.about(params), params.experiment, snakemake.output.html, snakemake.output.summary)

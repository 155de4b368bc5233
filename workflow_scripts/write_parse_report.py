"""Write the report of a parsing experiment: one HTML page that needs nothing else."""

from typing import TYPE_CHECKING

from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    from earshot import parse_report, parse_tables

    given, params = snakemake.input, snakemake.params
    paths = parse_report.Paths(
        metrics=given.metrics,
        by_class=given.by_class,
        figures=given.figures,
        parses=given.parses,
        training=given.training,
        clips=given.clips,
        classes=given.classes,
        environment=given.environment,
        files=params.files,
    )
    parse_report.write(paths, parse_tables.about(params), params.experiment, snakemake.output.html, snakemake.output.summary)

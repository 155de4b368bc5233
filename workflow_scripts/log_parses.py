"""Log the results of a parsing experiment to MLflow; what is logged already is left alone."""

from typing import TYPE_CHECKING

from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    from earshot import parse_tables, parse_tracking, tracking
    from earshot.files import write_json

    given, params = snakemake.input, snakemake.params
    files = {path: "tables" for path in given.tables} | {given.report: "report"} | tracking.pictures(given.figures)
    inputs = parse_tracking.Inputs(given.metrics, given.by_class, given.parses, given.training, files, given.environment)
    about = parse_tables.about(params)
    said = parse_tracking.log(params.uri, params.prefix + params.experiment, params.experiment, inputs, about)
    write_json(snakemake.output.done, said)

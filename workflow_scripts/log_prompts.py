"""Log the results of a prompting experiment to MLflow; what is logged already is left alone."""

from typing import TYPE_CHECKING

from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    from earshot import prompt_tables, prompt_tracking, tracking
    from earshot.files import write_json

    given, params = snakemake.input, snakemake.params
    files = {path: "tables" for path in given.tables} | {given.report: "report"} | tracking.pictures(given.figures)
    inputs = prompt_tracking.Inputs(given.metrics, given.prompted, given.training, given.costs, files, given.environment)
    about = prompt_tables.about(params)
    said = prompt_tracking.log(params.uri, params.prefix + params.experiment, params.experiment, inputs, about)
    write_json(snakemake.output.done, said)

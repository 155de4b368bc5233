"""Log the results of an experiment to MLflow; what is logged already is left alone."""

from typing import TYPE_CHECKING

from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    from earshot import contracts, data_facts, scoring, tables, tracking
    from earshot.files import write_json

    given, params = snakemake.input, snakemake.params
    about = data_facts.with_data(tables.about(params), given.metrics)
    metrics = contracts.read(given.metrics, contracts.METRICS)
    by_class = contracts.read(given.by_class, contracts.CLASS_METRICS, seed=scoring.ALL_SEEDS)
    made = tables.build(metrics, about, by_class)
    files = {path: "tables" for path in given.tables} | {given.report: "report"} | tracking.pictures(given.figures)
    environment = tracking.read_environment(given.environment)
    source = tracking.Source(
        params.experiment, metrics, about, {}, made, files, environment, tracking.read_classes(given.by_class)
    )
    write_json(snakemake.output.done, tracking.log(params.uri, params.prefix + params.experiment, source))

"""Turn the parses of an experiment into a table of scores, and into one of every class."""

from typing import TYPE_CHECKING

from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    from earshot import contracts, data_facts
    from earshot.parse_scoring import of_datasets, score_all

    given, params = snakemake.input, snakemake.params
    datasets = of_datasets(params.datasets, given.parses, given.clips, given.events, given.classes)
    scores = score_all(datasets, params.split, params.reference)
    print(*scores.remarks, sep="\n")
    data = data_facts.of_tables(params.datasets, given.classes)
    facts = {"experiment": params.experiment, "data": data}
    contracts.write(data_facts.marked(scores.metrics, data), contracts.PARSING_METRICS, snakemake.output.metrics, facts)
    contracts.write(scores.classes, contracts.PARSING_CLASS_METRICS, snakemake.output.by_class, facts)

"""Turn the predictions of an experiment into a table of metrics, and into one of every class."""

from typing import TYPE_CHECKING

from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    from earshot import contracts, data_facts
    from earshot.scoring import score, vocabularies

    given, params = snakemake.input, snakemake.params
    known = vocabularies(params.datasets, given.classes, given.label_map)
    scores = score(given.predictions, known, params.class_groups)
    data = data_facts.of_tables(params.datasets, given.classes)
    facts = {"experiment": params.experiment, "data": data}
    contracts.write(data_facts.marked(scores.metrics, data), contracts.METRICS, snakemake.output.metrics, facts)
    contracts.write(scores.classes, contracts.CLASS_METRICS, snakemake.output.by_class, facts)

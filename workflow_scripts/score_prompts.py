"""Turn what the prompted encoders of an experiment say into a table of scores."""

from functools import partial
from typing import TYPE_CHECKING

from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    from earshot import contracts, data_facts, plugins, prompt_scoring, prompting_data

    given, params = snakemake.input, snakemake.params
    task = plugins.load("tasks", params.task["plugin"])
    prompted = prompt_scoring.of_datasets(params.datasets, given.prompted)
    asks = "question" in task.TRUTH
    rows, tables = [], ("clips", "events", "classes", "questions", "masks")
    for place, dataset in enumerate(params.datasets):
        sources = {name: given[name][place] for name in tables if given.get(name)}
        items = prompt_scoring.items_of(params.split, sources["clips"], sources["questions"] if asks else "")
        judge = prompt_scoring.Judge(task.METRICS, partial(prompting_data.load_truth, sources, task.TRUTH), task.per_item)
        scores = prompt_scoring.score(prompted[dataset], items, params.split, judge, params.reference)
        rows += scores.metrics
        print(*scores.remarks, sep="\n")
    data = data_facts.of_tables(params.datasets, given.classes)
    facts = {"experiment": params.experiment, "data": data}
    contracts.write(data_facts.marked(rows, data), contracts.PROMPT_METRICS, snakemake.output.metrics, facts)

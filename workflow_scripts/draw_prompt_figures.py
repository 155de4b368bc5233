"""Draw the figures of a prompting experiment into one folder."""

from typing import TYPE_CHECKING

from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    from earshot import contracts, prompt_figures, prompt_tables

    given = snakemake.input
    sources = prompt_figures.Sources(given.prompted, given.views, given.training, given.classes)
    metrics = contracts.read(given.metrics, contracts.PROMPT_METRICS)
    about = prompt_tables.about(snakemake.params)
    prompt_figures.draw(sources, metrics, about, snakemake.output.figures)

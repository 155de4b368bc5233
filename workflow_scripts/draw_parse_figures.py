"""Draw the figures of a parsing experiment into one folder."""

from typing import TYPE_CHECKING

from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    from earshot import contracts, parse_figures, parse_tables, parse_timelines

    given = snakemake.input
    sources = parse_timelines.Sources(
        parses=given.parses,
        events=given.events,
        clips=given.clips,
        classes=given.classes,
        roots=snakemake.params.dataset_roots,
    )
    metrics = contracts.read(given.metrics, contracts.PARSING_METRICS)
    about = parse_tables.about(snakemake.params)
    parse_figures.draw(sources, metrics, about, given.training, snakemake.output.figures)

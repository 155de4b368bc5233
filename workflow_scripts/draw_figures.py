"""Draw the figures of an experiment into one folder."""

from typing import TYPE_CHECKING

from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    from earshot import contracts, figures, tables

    given = snakemake.input
    sources = figures.Sources(
        predictions=given.predictions,
        clips=given.clips,
        corrupted=given.corrupted,
        classes=given.classes,
        audio=given.audio,
        label_map=given.label_map,
        training=given.training,
        timings=given.timings,
        by_class=given.by_class,
        roots=snakemake.params.dataset_roots,
    )
    metrics = contracts.read(given.metrics, contracts.METRICS)
    figures.draw(sources, metrics, tables.about(snakemake.params), snakemake.output.figures)

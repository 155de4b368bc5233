"""Write the report of an experiment: one HTML page that needs nothing else."""

from typing import TYPE_CHECKING

from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    from earshot import overview, report, tables
    from earshot.files import write_text

    given = snakemake.input
    paths = report.Paths(
        metrics=given.metrics,
        by_class=given.by_class,
        figures=given.figures,
        predictions=given.predictions,
        clips=given.clips,
        corrupted=given.corrupted,
        classes=given.classes,
        audio=given.audio,
        audio_scores=given.audio_scores,
        label_map=given.label_map,
        training=given.training,
        tuning=given.tuning,
        timings=given.timings,
        environment=given.environment,
        sheets=given.sheets,
        files=snakemake.params.files,
    )
    data = report.collect(paths, tables.about(snakemake.params), snakemake.params.experiment)
    write_text(snakemake.output.html, report.render(data))
    overview.write_summary(data, snakemake.output.summary)

"""Probe the files of a dataset and write its clips, classes, events, questions and masks."""

from typing import TYPE_CHECKING

from earshot import indexing
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    indexing.index_dataset(
        name=snakemake.wildcards.dataset,
        plugin=snakemake.params.plugin,
        root=snakemake.params.root,
        options=snakemake.params.options,
        workers=snakemake.threads,
        clips=snakemake.output.clips,
        classes=snakemake.output.classes,
        events=snakemake.output.events,
        asked=snakemake.output.questions,
        masks=snakemake.output.masks,
        findings=snakemake.output.findings,
        journal=snakemake.params.journal,
        downloaded=snakemake.params.downloaded,
    )

"""Compute the importance of a backbone's parameters on the clean training split."""

from typing import TYPE_CHECKING

from earshot import importance
from earshot.config import runtime_of
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    importance.compute(
        clips=snakemake.input.clips,
        classes=snakemake.input.classes,
        weights_path=snakemake.input.weights,
        root=snakemake.params.root,
        backbone=snakemake.params.backbone,
        sampling=snakemake.params.sampling,
        runtime=runtime_of(snakemake.config),
        most=snakemake.params.clips,
        batch=snakemake.params.batch,
        seed=snakemake.params.seed,
        out=snakemake.output.importance,
    )

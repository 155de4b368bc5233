"""Train the source model of a dataset."""

from typing import TYPE_CHECKING

from earshot import training
from earshot.config import runtime_of
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    training.train(
        training.Inputs(
            clips=snakemake.input.clips,
            classes=snakemake.input.classes,
            root=snakemake.params.root,
            manifest=str(snakemake.input.get("manifest") or ""),
            backbone=snakemake.params.backbone,
            fit=snakemake.params.fit,
            hyper=snakemake.params.hyper,
            seed=snakemake.params.seed,
            runtime=runtime_of(snakemake.config),
            code=snakemake.params.code,
        ),
        weights_out=snakemake.output.weights,
        metrics_out=snakemake.output.training,
    )

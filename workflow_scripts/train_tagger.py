"""Train an audio tagger on a sound bank."""

from typing import TYPE_CHECKING

from earshot import tagging
from earshot.config import runtime_of
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    tagging.train(
        bank=snakemake.params.bank,
        plugin=snakemake.params.plugin,
        options=snakemake.params.options,
        hyper=snakemake.params.hyper,
        seed=snakemake.params.seed,
        runtime=runtime_of(snakemake.config),
        out=snakemake.output.weights,
        metrics_out=snakemake.output.training,
    )

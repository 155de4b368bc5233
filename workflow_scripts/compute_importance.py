"""Compute the importance of a backbone's parameters on the clean training split."""

from typing import TYPE_CHECKING

from earshot import importance
from earshot.config import runtime_of
from earshot.jobs import job_log
from earshot.source_models import SourceModel

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    importance.compute(
        SourceModel.of(snakemake.input, snakemake.params, runtime_of(snakemake.config)),
        most=snakemake.params.clips,
        batch=snakemake.params.batch,
        seed=snakemake.params.seed,
        out=snakemake.output.importance,
    )

"""Compute the source statistics of a backbone on the clean training split."""

from typing import TYPE_CHECKING

from earshot import statistics
from earshot.config import runtime_of
from earshot.jobs import job_log
from earshot.source_models import SourceModel

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    statistics.compute(
        SourceModel.of(snakemake.input, snakemake.params, runtime_of(snakemake.config)),
        batch=snakemake.params.batch,
        out=snakemake.output.statistics,
    )

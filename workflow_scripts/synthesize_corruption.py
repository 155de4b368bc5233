"""Make the corrupted version of a dataset at one severity, or a part of it."""

from pathlib import Path
from typing import TYPE_CHECKING

from earshot import synthesis
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    task = synthesis.task_of(snakemake.params.task, code=snakemake.params.code, out=str(Path(snakemake.output.clips).parent))
    shard = int(snakemake.wildcards.get("shard", 0)), snakemake.params.shards
    synthesis.synthesize(snakemake.input.clips, snakemake.params.splits, task, snakemake.threads, snakemake.output.clips, shard)

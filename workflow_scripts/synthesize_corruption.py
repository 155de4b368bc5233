"""Make the corrupted version of a dataset at one severity."""

from pathlib import Path
from typing import TYPE_CHECKING

from earshot import synthesis
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    task = synthesis.Task(
        corruption=snakemake.wildcards.corruption,
        severity=int(snakemake.wildcards.severity),
        preset=snakemake.params.preset,
        seed=snakemake.params.seed,
        code=snakemake.params.code,
        root=snakemake.params.root,
        out=str(Path(snakemake.output.clips).parent),
    )
    synthesis.synthesize(snakemake.input.clips, snakemake.params.splits, task, snakemake.threads, snakemake.output.clips)

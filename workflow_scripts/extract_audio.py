"""Extract the sound of a dataset at the rate that audio models listen at."""

from typing import TYPE_CHECKING

from earshot import audio
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    audio.extract(
        clips=snakemake.input.clips,
        root=snakemake.params.root,
        rate=int(snakemake.wildcards.rate),
        splits=snakemake.params.splits,
        workers=snakemake.threads,
        out=snakemake.output.audio,
    )

"""Keep the sound of all clips of a dataset at one rate and of one length."""

from typing import TYPE_CHECKING

from earshot import segments
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    given = snakemake.params
    segments.write_waves(
        segments.Dataset(given.plugin, given.options, given.root, snakemake.input.clips),
        segments=int(snakemake.wildcards.segments),
        rate=int(snakemake.wildcards.rate),
        threads=snakemake.threads,
        out_array=snakemake.output.array,
        out_index=snakemake.output.index,
    )

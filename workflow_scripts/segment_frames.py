"""Pick a frame for every segment of all clips of a dataset, and make them squares."""

from typing import TYPE_CHECKING

from earshot import segments
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    given = snakemake.params
    segments.write_frames(
        segments.Dataset(given.plugin, given.options, given.root, snakemake.input.clips),
        segments=int(snakemake.wildcards.segments),
        px=int(snakemake.wildcards.px),
        threads=snakemake.threads,
        out_array=snakemake.output.array,
        out_index=snakemake.output.index,
        rule=snakemake.wildcards.frame_rule,
    )

"""Make the masks of all clips of a dataset squares."""

from typing import TYPE_CHECKING

from earshot import segments
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    segments.write_masks(
        root=snakemake.params.root,
        clips=snakemake.input.clips,
        masks=snakemake.input.masks,
        segments=int(snakemake.wildcards.segments),
        px=int(snakemake.wildcards.px),
        threads=snakemake.threads,
        out_array=snakemake.output.array,
        out_index=snakemake.output.index,
    )

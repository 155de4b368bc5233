"""Make features up."""

from typing import TYPE_CHECKING

from earshot import features
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    features.synthesize(
        **snakemake.params.extractor,
        clips=snakemake.input.clips,
        classes=snakemake.input.classes,
        events=snakemake.input.events,
        out_array=snakemake.output.array,
        out_index=snakemake.output.index,
    )

"""Score the sound of every clip with an audio model."""

from typing import TYPE_CHECKING

from earshot import tagging
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    tagging.score(
        audio=snakemake.input.audio,
        weights_path=snakemake.input.weights,
        plugin=snakemake.params.plugin,
        threads=snakemake.params.torch_threads,
        out=snakemake.output.scores,
    )

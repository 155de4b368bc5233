"""Score the sound of every clip with an audio model."""

from typing import TYPE_CHECKING

from earshot import hearing
from earshot.config import runtime_of
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    runtime = runtime_of(snakemake.config)
    hearing.score(
        audio=snakemake.input.audio,
        weights_path=snakemake.input.weights,
        batch=snakemake.params.batch,
        device=snakemake.params.runtime["device"],
        torch_threads=snakemake.params.runtime["torch_threads"],
        loading_threads=runtime["loading_threads"],
        out=snakemake.output.scores,
    )

"""Make features of the seconds of videos."""

from typing import TYPE_CHECKING

from earshot import features
from earshot.config import runtime_of
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    features.extract(
        **snakemake.params.extractor,
        weights_path=snakemake.input.weights,
        clips=snakemake.input.clips,
        root=snakemake.params.root,
        batch=snakemake.params.batch,
        device=snakemake.params.runtime["device"],
        torch_threads=snakemake.params.runtime["torch_threads"],
        loading_threads=runtime_of(snakemake.config)["loading_threads"],
        out_array=snakemake.output.array,
        out_index=snakemake.output.index,
    )

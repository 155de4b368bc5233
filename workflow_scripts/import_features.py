"""Bring published feature files, one a video, into one array."""

from typing import TYPE_CHECKING

from earshot import features
from earshot.config import runtime_of
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    features.import_files(
        **snakemake.params.extractor,
        **snakemake.params.files,
        clips=snakemake.input.clips,
        threads=runtime_of(snakemake.config)["loading_threads"],
        out_array=snakemake.output.array,
        out_index=snakemake.output.index,
    )

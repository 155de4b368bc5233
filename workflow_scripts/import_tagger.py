"""Import the published weights of an audio model, with the names of its sounds."""

from typing import TYPE_CHECKING

from earshot import tagger_weights
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    tagger_weights.import_weights(
        manifest=snakemake.input.manifest,
        space=snakemake.params.space,
        plugin=snakemake.params.plugin,
        options=snakemake.params.options,
        classes=str(snakemake.input.get("classes") or ""),
        out=snakemake.output.weights,
    )

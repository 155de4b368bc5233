"""Take over published encoders."""

from typing import TYPE_CHECKING

from earshot import encoder_weights
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    manifests = {side: str(snakemake.input.get(side)) for side in ("visual", "audio") if snakemake.input.get(side)}
    encoder_weights.import_encoders(manifests, snakemake.params.job, snakemake.output.weights)

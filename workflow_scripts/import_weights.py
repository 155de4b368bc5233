"""Import published weights for the classes of a dataset."""

from typing import TYPE_CHECKING

from earshot import importing
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    importing.import_weights(
        manifest=str(snakemake.input.get("manifest") or ""),
        space=snakemake.params.space,
        **snakemake.params.backbone,
        classes=snakemake.input.classes,
        seed=snakemake.params.seed,
        out=snakemake.output.weights,
    )

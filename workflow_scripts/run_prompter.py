"""Say what prompted encoders make of the clips of a split."""

from typing import TYPE_CHECKING

from earshot import prompting
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    prompting.run(
        prompting.inputs_of(snakemake),
        weights_path=snakemake.input.weights,
        split=snakemake.params.split,
        show=snakemake.params.show,
        out=snakemake.output.prompted,
        views_out=snakemake.output.views,
    )

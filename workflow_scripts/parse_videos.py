"""Say what is heard and seen in each second of the clips of a split."""

from typing import TYPE_CHECKING

from earshot import parsing
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    parsing.parse(
        parsing.inputs_of(snakemake),
        weights_path=snakemake.input.weights,
        split=snakemake.params.split,
        out=snakemake.output.parses,
        facts=snakemake.params.facts,
    )

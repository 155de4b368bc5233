"""Choose hyper-parameters of methods from what was tried on held-out clips."""

from typing import TYPE_CHECKING

from earshot import tuning
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    tuning.choose(list(snakemake.input.trials), snakemake.output.chosen, snakemake.output.trials)

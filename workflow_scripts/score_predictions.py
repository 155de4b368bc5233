"""Turn the predictions of an experiment into one table of metrics."""

from typing import TYPE_CHECKING

from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    from earshot import contracts
    from earshot.scoring import score

    facts = {"experiment": snakemake.params.experiment}
    contracts.write(score(snakemake.input.predictions), contracts.METRICS, snakemake.output.metrics, facts)

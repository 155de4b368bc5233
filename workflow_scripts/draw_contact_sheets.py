"""Draw what every corruption of an experiment does to one clip of each dataset."""

from typing import TYPE_CHECKING

from earshot import contact_sheets
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    contact_sheets.draw(snakemake.input.clips, snakemake.params.tasks, snakemake.params.split, snakemake.output.sheets)

"""Write the tables of a prompting experiment as Markdown, CSV (wide and tidy), LaTeX and HTML."""

from typing import TYPE_CHECKING

from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    from earshot import prompt_tables

    given, out = snakemake.input, snakemake.output
    about = prompt_tables.about(snakemake.params)
    inputs = (given.metrics, given.prompted, given.training, given.costs)
    prompt_tables.write(*inputs, about, out.markdown, out.csv, out.tidy, out.latex, out.html)

"""Write the tables of an experiment as Markdown, CSV (wide and tidy), LaTeX and HTML."""

from typing import TYPE_CHECKING

from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    from earshot import contracts, data_facts, pages, scoring, tables

    about = data_facts.with_data(tables.about(snakemake.params), snakemake.input.metrics)
    metrics = contracts.read(snakemake.input.metrics, contracts.METRICS)
    by_class = contracts.read(snakemake.input.by_class, contracts.CLASS_METRICS, seed=scoring.ALL_SEEDS)
    made = tables.build(metrics, about, by_class)
    out = snakemake.output
    outs = (out.markdown, out.csv, out.tidy, out.latex, out.html)
    pages.write_tables(made, about.title, tables.tidy_csv(metrics), outs)

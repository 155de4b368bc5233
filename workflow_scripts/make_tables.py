"""Write the tables of an experiment as Markdown, CSV (wide and tidy), LaTeX and HTML."""

from typing import TYPE_CHECKING

from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    from earshot import contracts, data_facts, pages, scoring, tables
    from earshot.files import write_text

    about = data_facts.with_data(tables.about(snakemake.params), snakemake.input.metrics)
    metrics = contracts.read(snakemake.input.metrics, contracts.METRICS)
    by_class = contracts.read(snakemake.input.by_class, contracts.CLASS_METRICS, seed=scoring.ALL_SEEDS)
    made = tables.build(metrics, about, by_class)
    write_text(snakemake.output.markdown, tables.markdown(made, about.title))
    write_text(snakemake.output.csv, tables.wide_csv(made))
    write_text(snakemake.output.tidy, tables.tidy_csv(metrics))
    write_text(snakemake.output.latex, tables.latex(made))
    write_text(snakemake.output.html, pages.of_tables(made, about.title))

"""Bring the files of a dataset to where they belong, from where they are to be had or were dropped."""

from pathlib import Path
from typing import TYPE_CHECKING

from earshot import acquisition, plugins
from earshot.config import downloads_of, overrides, runtime_of
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    name, params = snakemake.wildcards.dataset, snakemake.params
    module = plugins.load("datasets", params.plugin)
    acquisition.acquire(
        name,
        module,
        overrides(module.Options, params.options, f"datasets.{name}.options"),
        Path(params.root),
        Path(params.folder),
        acquisition.Wishes(**params.wishes),
        acquisition.Manners(**downloads_of(snakemake.config)),
        runtime_of(snakemake.config)["offline"],
        Path(snakemake.output.manifest),
    )

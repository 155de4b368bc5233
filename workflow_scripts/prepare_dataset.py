"""Make or fetch the files of a dataset, and list them with their checksums."""

from pathlib import Path
from typing import TYPE_CHECKING

from earshot import plugins
from earshot.config import overrides
from earshot.files import sha256_of_file, write_json
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    module = plugins.load("datasets", snakemake.params.plugin)
    root = Path(snakemake.params.root)
    options = overrides(module.Options, snakemake.params.options, f"datasets.{snakemake.wildcards.dataset}.options")
    module.prepare(root, options, snakemake.threads)
    made = sorted(path for path in root.rglob("*") if path.is_file())
    write_json(snakemake.output.manifest, {path.relative_to(root).as_posix(): sha256_of_file(path) for path in made})

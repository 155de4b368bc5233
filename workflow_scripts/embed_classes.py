"""Turn the classes of a dataset into vectors of the model that labels its seconds."""

from typing import TYPE_CHECKING

from earshot import pseudo_labels
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    pseudo_labels.embed(
        **snakemake.params.extractor,
        weights_path=str(snakemake.input.get("weights") or ""),
        classes=snakemake.input.classes,
        recipe_name=snakemake.params.recipe,
        label_map=str(snakemake.input.get("label_map") or ""),
        out=snakemake.output.vectors,
    )

"""Write the map from audio classes to video classes."""

from typing import TYPE_CHECKING

from earshot import label_map, weights
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    facts = weights.facts_of(snakemake.input.weights)
    label_map.write(
        reviewed=snakemake.input.reviewed,
        audio_labels=facts["labels"],
        space=facts["label_space"],
        classes=snakemake.input.classes,
        out=snakemake.output.label_map,
    )

"""Label the seconds of clips with the classes that a model finds in them."""

from typing import TYPE_CHECKING

from earshot import pseudo_labels
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    pseudo_labels.label_segments(
        audio=snakemake.input.audio,
        visual=snakemake.input.visual,
        audio_vectors=snakemake.input.audio_vectors,
        visual_vectors=snakemake.input.visual_vectors,
        classes=snakemake.input.classes,
        recipe_name=snakemake.params.rule["recipe"],
        thresholds=snakemake.params.rule["thresholds"],
        margins=snakemake.params.rule["ungated_margins"],
        out_array=snakemake.output.array,
        out_index=snakemake.output.index,
    )

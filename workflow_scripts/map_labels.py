"""Check a label map against both vocabularies and write it as a table."""

from typing import TYPE_CHECKING

from earshot import label_map, sounds
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    label_map.write(
        path=snakemake.input.map,
        audio_labels=sounds.vocabulary(
            str(snakemake.input.get("weights") or ""), snakemake.params.space, snakemake.input.classes
        ),
        classes=snakemake.input.classes,
        out=snakemake.output.label_map,
    )

"""Ask once which video classes each sound of an audio model speaks for."""

from typing import TYPE_CHECKING

from earshot import mapping, sounds
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    names = sounds.vocabulary(str(snakemake.input.get("weights") or ""), snakemake.params.space, snakemake.input.classes)
    mapping.ask(
        asked=mapping.question(snakemake.wildcards.dataset, names, snakemake.input.classes),
        audio_model=snakemake.wildcards.audio_model,
        plugin=snakemake.params.mapper["plugin"],
        options=snakemake.params.mapper["options"],
        out=snakemake.output.map,
    )

"""Ask once which video classes each sound of an audio model speaks for."""

import os
from typing import TYPE_CHECKING

from earshot import mapping, sounds, weights
from earshot.config import runtime_of
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    weights.use_threads(snakemake.params.torch_threads)
    if runtime_of(snakemake.config)["offline"]:
        os.environ["HF_HUB_OFFLINE"] = "1"  # mappers load models by libraries that read this
    names = sounds.vocabulary(str(snakemake.input.get("weights") or ""), snakemake.params.space, snakemake.input.classes)
    mapping.ask(
        asked=mapping.question(snakemake.wildcards.dataset, names, snakemake.input.classes),
        audio_model=snakemake.wildcards.audio_model,
        plugin=snakemake.params.mapper["plugin"],
        options=snakemake.params.mapper["options"],
        answers=snakemake.params.answers,
        out=snakemake.output.map,
    )

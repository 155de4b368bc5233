"""Extract the sound of a dataset at the rate that an audio model listens at."""

from typing import TYPE_CHECKING

from earshot import audio, plugins
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    rate = plugins.load("audio_models", snakemake.params.plugin).SPEC.rate_hz
    audio.extract(
        clips=snakemake.input.clips,
        root=snakemake.params.root,
        rate=rate,
        splits=snakemake.params.splits,
        workers=snakemake.threads,
        out=snakemake.output.audio,
    )

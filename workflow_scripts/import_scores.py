"""Import a user's scores of the sound of a dataset."""

from typing import TYPE_CHECKING

from earshot import plugins, sounds
from earshot.config import overrides
from earshot.jobs import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job_log(snakemake.log[0]):
    module = plugins.load("audio_models", snakemake.params.plugin)
    module.import_scores(
        scores=snakemake.input.scores,
        clips=snakemake.input.clips,
        splits=snakemake.params.splits,
        names=sounds.vocabulary("", snakemake.params.space, snakemake.input.classes),
        options=overrides(module.Options, snakemake.params.options, "audio_models.<name>.options"),
        out=snakemake.output.scores,
    )

# What all rules share: the validated config, where things lie, and one run at a time.
import fcntl
import marshal
import sys
from pathlib import Path

LIBRARY = Path(workflow.basedir) / "workflow_scripts"
# Python may keep a part of a module's bytecode on a disk that is full, and then no start could ever read that module
for kept in LIBRARY.rglob(f"__pycache__/*.{sys.implementation.cache_tag}.pyc"):
    try:
        try:
            marshal.loads(kept.read_bytes()[16:])
        except (EOFError, ValueError, TypeError):
            kept.unlink(missing_ok=True)
    except OSError:
        pass  # another user's, or replaced just now by another process

sys.path.insert(0, str(LIBRARY))

from earshot import config as earshot_config  # noqa: E402
from earshot import orphans  # noqa: E402
from earshot import progress  # noqa: E402
from earshot.corruptions import UCF101C  # noqa: E402
from earshot.errors import SetupError  # noqa: E402
from earshot.layout import Layout  # noqa: E402
from earshot.parsing_layout import ParsingLayout  # noqa: E402
from earshot.prompting_layout import PromptingLayout  # noqa: E402

CONFIG = earshot_config.load(config)
AT = Layout(
    CONFIG
)  # input and params functions: AT.cell_clips, AT.code("training:train"), …
PARSED = ParsingLayout(CONFIG)  # the same of video parsing
PROMPTED = PromptingLayout(CONFIG)  # and of cross-modal prompting
READY = "|".join(name for name, m in CONFIG.audio_models.items() if m.scores) or "(?!)"
LISTENING = (
    "|".join(name for name, m in CONFIG.audio_models.items() if not m.scores) or "(?!)"
)
ASKED = "|".join(CONFIG.mappers) or "(?!)"


def growing(amount):
    """What a job asks for, of memory in MB or run time in minutes: so much at first, and as much again at every retry."""

    def asked(wildcards, attempt):
        return amount * attempt

    return asked


wildcard_constraints:
    dataset="|".join(CONFIG.datasets) or "none",
    backbone="[a-z0-9_]+",
    corruption="[a-z0-9_]+",
    severity="[0-5]",
    experiment="|".join(CONFIG.experiments),
    checkpoint="|".join(CONFIG.checkpoints) or "none",
    audio_model="|".join(CONFIG.audio_models) or "none",
    rate="[0-9]+",
    features="|".join(CONFIG.features) or "(?!)",
    labels="|".join(CONFIG.pseudo_labels) or "(?!)",
    side="audio|visual",
    parsing="|".join(CONFIG.parsing) or "(?!)",
    parser="[a-z0-9_]+",
    number="[0-9]+",
    encoders="|".join(CONFIG.encoders) or "(?!)",
    kind="[a-z_]+",
    prompting="|".join(CONFIG.prompting) or "(?!)",
    prompter="[a-z0-9_]+",
    segments="[0-9]+",
    px="[0-9]+",
    frame_rule="[a-z]+",
    mapper=f"{ASKED}|reviewed",
    other=f"{ASKED}|reviewed",


onstart:
    # Snakemake's own lock outlives a killed run; this one goes with the process, so a killed run needs no unlocking.
    lock = open(Path(".snakemake") / "earshot.lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WorkflowError(
            "another run of this workflow is under way in this folder; wait for it to end"
        )
    except OSError as error:
        raise WorkflowError(
            f"this file system knows no locks ({error}); put the folder of the workflow where it does (on Lustre: mounted with `flock`)"
        )
    globals()["RUN_LOCK"] = lock  # held until the process ends
    # only now, since the jobs of a run that lives are not to be touched
    try:
        cancelled = orphans.cancel(Path(".snakemake") / "slurm_logs")
    except SetupError as error:
        raise WorkflowError(str(error))
    if cancelled:
        print(
            f"cancelled jobs of an earlier run that was killed: {', '.join(cancelled)}",
            file=sys.stderr,
        )
    follower = progress.follow(
        workflow.dag.needrun_jobs(), Path(AT.results) / "progress.txt"
    )
    globals()["FOLLOWER"] = follower
    logger.addHandler(follower)


onsuccess:
    FOLLOWER.ended(True)


onerror:
    if "FOLLOWER" in globals():  # else it ended before it began
        FOLLOWER.ended(False)

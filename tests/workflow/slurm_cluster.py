"""A SLURM cluster of several nodes on this machine, for as long as tests run.

Debian's own programs run in the foreground as children of the test process, so they end with it. Everything listens on the
loopback address, signs with a key of its own and lies in one folder. GPUs are links to `/dev/null`: SLURM counts and assigns
them, nothing can be computed on them. There are no control groups, so memory is scheduled but not enforced. What became of a
job is remembered for an hour, for tests to ask.
"""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from installing import CannotInstall, install

PACKAGES = ("munge", "slurmctld", "slurmd", "slurm-client")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo", "setpriv")
# inside a job Snakemake drops SLURM_CONF before it calls srun, so the place where SLURM looks by itself must lead to ours
CONFIGURATION = Path("/etc/slurm/slurm.conf")
MARK = "# Written by tests/workflow/slurm_cluster.py"
POLICY = Path("/usr/sbin/policy-rc.d")
SETTINGS = """\
{mark}
ClusterName=earshot
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/state/slurmctld.pid
SlurmdPidFile={folder}/state/%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/%n.log
AccountingStorageType=accounting_storage/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,bf_interval=1,sched_interval=1,sched_min_interval=100000
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
MinJobAge=3600
SlurmdTimeout=6
SlurmctldTimeout=10
KillWait=5
JobRequeue=0
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=gpus Nodes=ALL MaxTime=INFINITE State=UP
"""
NODE = (
    "NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs={cpus} Boards=1 SocketsPerBoard=1 "
    "CoresPerSocket={cpus} ThreadsPerCore=1 RealMemory={memory} Gres=gpu:{gpus} Feature=a100 State=UNKNOWN\n"
)


class SlurmUnavailable(Exception):
    """This machine cannot have a cluster of our own; the message says why."""


class SlurmCluster:
    """Nodes node1, node2, … with so many CPUs, MB of memory and GPUs each, whatever the machine has."""

    def __init__(self, nodes=2, cpus=32, memory=128_000, gpus=1):
        self.nodes = [f"node{i + 1}" for i in range(nodes)]
        self.size = {"cpus": cpus, "memory": memory, "gpus": gpus}
        self.folder = None
        self.daemons = {}
        self._ends = ExitStack()

    @staticmethod
    def install():
        """Install Debian's packages without starting Debian's services; SlurmUnavailable where that cannot be."""
        if not missing_programs():
            return
        try:
            with _no_services():
                install(*PACKAGES)
        except CannotInstall as reason:
            raise SlurmUnavailable(f"not installed, and {reason}") from None

    def start(self):
        """Start all daemons and wait until all nodes are idle; waits first for another session's cluster to end."""
        if missing := missing_programs():
            raise SlurmUnavailable(f"not installed: {', '.join(missing)}")
        if os.getuid() != 0:
            raise SlurmUnavailable(f"only root may write {CONFIGURATION}")
        try:
            self._claim_machine()
            self._write_configuration()
            self._start("munged", *self._munge_options())
            _wait("munged answers", lambda: self._succeeds("munge", f"--socket={self.folder}/munge/socket", "-n"))
            self._start("slurmctld", "-D", "-f", str(self.configuration))
            for node in self.nodes:
                self._start_slurmd(node)
            _wait("all nodes are up", lambda: self.idle() == set(self.nodes))
        except BaseException:
            self.stop()
            raise

    def stop(self):
        """Cancel all jobs, end what was started, and leave the machine as it was found."""
        if "slurmctld" in self.daemons:
            self._succeeds("scancel", "--quiet", *self.jobs())
            _wait("all jobs are gone", lambda: not self.jobs())
        for name in reversed([*self.daemons]):  # nodes, then the controller, then what signs their messages
            self._end(name)
        self._ends.close()

    def environment(self):
        """What a client, such as Snakemake, needs in its environment."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_", "SRUN_"))}
        return {**kept, "SLURM_CONF": str(self.configuration), "PATH": f"{os.environ['PATH']}:/usr/sbin"}

    @property
    def configuration(self):
        return self.folder / "slurm.conf"

    def run(self, program, *arguments):
        """The output of a SLURM command."""
        command = [shutil.which(program, path=self.environment()["PATH"]), *arguments]
        done = subprocess.run(command, env=self.environment(), capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{program} {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def jobs(self, *options):
        """Numbers of the jobs that wait or run."""
        return self.run("squeue", "--noheader", "--format=%A", *options).split()

    def facts(self, job):
        """What SLURM knows of a job: MinMemoryNode, TimeLimit, WorkDir, …"""
        return dict(re.findall(r"(\S+?)=(\S*)", self.run("scontrol", "show", "job", job)))

    def idle(self):
        """Names of the nodes that could run a job and run none."""
        return set(self.run("sinfo", "--noheader", "-N", "--states=idle", "--format=%N").split())

    def kill_node(self, node):
        """A power cut: the daemon of a node and everything that runs there, at once."""
        log = str(self.folder / "log" / f"{node}.log")
        steps = [pid for pid in _processes() if _name(pid) == "slurmstepd" and _holds(pid, log)]
        self._end(node, signal.SIGKILL)
        for pid in [*steps, *_descendants(steps)]:
            _kill(pid)

    def start_node(self, node):
        """Bring a dead node back."""
        self._start_slurmd(node)
        _wait(f"{node} is back", lambda: node in self.idle())

    def _claim_machine(self):
        lock = os.open(Path(tempfile.gettempdir()) / "earshot_slurm.lock", os.O_CREAT | os.O_RDWR)
        self._ends.callback(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        # whoever left a link of ours behind held the lock, and is gone
        if CONFIGURATION.is_symlink() and (not CONFIGURATION.exists() or CONFIGURATION.read_text().startswith(MARK)):
            CONFIGURATION.unlink()
        if CONFIGURATION.exists():
            raise SlurmUnavailable(f"{CONFIGURATION} is there: this machine belongs to a real cluster")
        # short, since paths of sockets may not be long
        self.folder = Path(self._ends.enter_context(tempfile.TemporaryDirectory(prefix="slurm", ignore_cleanup_errors=True)))
        CONFIGURATION.parent.mkdir(exist_ok=True)
        CONFIGURATION.symlink_to(self.configuration)
        self._ends.callback(CONFIGURATION.unlink)

    def _write_configuration(self):
        self.folder.chmod(0o755)  # munge refuses a folder that others cannot enter
        for part in ("munge", "state", "spool", "log", "gpus"):
            (self.folder / part).mkdir(mode=0o755)
        key = self.folder / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        ports = _free_ports(1 + len(self.nodes))
        text = SETTINGS.format(mark=MARK, folder=self.folder, user="root", controller_port=ports[0])
        gpus = ""
        for node, port in zip(self.nodes, ports[1:], strict=True):
            text += NODE.format(name=node, port=port, **self.size)
            for i in range(self.size["gpus"]):
                device = self.folder / "gpus" / f"{node}_{i}"
                device.symlink_to("/dev/null")  # a plain file would be counted, yet never given to a job
                gpus += f"NodeName={node} Name=gpu File={device}\n"
        self.configuration.write_text(text)
        (self.folder / "gres.conf").write_text(gpus)

    def _munge_options(self):
        place = self.folder / "munge"
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed"}
        options = [f"--{option}={place / file}" for option, file in files.items()]
        return "--foreground", "--force", *options, f"--log-file={self.folder}/log/munged.log"

    def _start_slurmd(self, node):
        (self.folder / "spool" / node).mkdir(exist_ok=True)
        self._start("slurmd", "-D", "-N", node, "-f", str(self.configuration), name=node)

    def _start(self, program, *options, name=None):
        # a test process that is killed cannot clean up; its children get the signal from the kernel
        command = ["setpriv", "--pdeathsig", "TERM", program, *options]
        with open(self.folder / "log" / f"{name or program}.out", "a") as out:
            streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out}
            self.daemons[name or program] = subprocess.Popen(command, env=self.environment(), start_new_session=True, **streams)

    def _end(self, name, how=signal.SIGTERM):
        daemon = self.daemons.pop(name)
        daemon.send_signal(how)
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def _succeeds(self, program, *arguments):
        done = subprocess.run([program, *arguments], env=self.environment(), capture_output=True, stdin=subprocess.DEVNULL)
        return done.returncode == 0


def missing_programs():
    """Which of SLURM's programs are not installed."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


def _no_services():
    """A context in which Debian starts no service of what it installs."""
    ends = ExitStack()
    if not POLICY.exists():
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
        ends.callback(POLICY.unlink)
    return ends


def _wait(what, happens, seconds=60):
    end = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s in vain until {what}")
        time.sleep(0.1)


def _free_ports(count):
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _processes():
    return [int(place.name) for place in Path("/proc").iterdir() if place.name.isdigit()]


def _read(pid, file):
    try:
        return Path(f"/proc/{pid}/{file}").read_text()
    except OSError:  # it has ended meanwhile
        return ""


def _name(pid):
    return _read(pid, "comm").strip()


def _holds(pid, file):
    """Whether a process has a file open."""
    try:
        return any(str(link.readlink()) == file for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def _descendants(pids):
    """All children of processes, their children, and so on."""
    parents = {pid: found[1] for pid in _processes() if (found := re.search(r"^PPid:\s+(\d+)", _read(pid, "status"), re.M))}
    children, found = {pid for pid, parent in parents.items() if int(parent) in pids}, []
    while children:
        found += children
        children = {pid for pid, parent in parents.items() if int(parent) in children}
    return found


def _kill(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)

"""Opens what was logged to MLflow: `python -m earshot.browse config.yaml`, which `make browse` runs.

A SQLite database is served on this machine's loopback address alone, since MLflow asks nobody for a password; a tracking
server of yours is named instead.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from mlflow import MlflowClient

from earshot.config_files import read
from earshot.tracking import sqlite_file

HOST = "127.0.0.1"
# no helper processes for features that are not used here, and nothing is told to anybody
_ENVIRONMENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def links(uri: str, prefix: str, address: str) -> list[tuple[str, str]]:
    """Name and address of the table of runs of every experiment of ours."""
    found = [e for e in MlflowClient(tracking_uri=uri).search_experiments() if e.name.startswith(prefix)]
    # without the last words the page opens in a layout for language models
    where = "#/experiments/{}/runs?workflowType=machine_learning"
    return [(e.name, f"{address}/{where.format(e.experiment_id)}") for e in sorted(found, key=lambda e: e.name)]


def command(uri: str, port: int) -> list[str]:
    """The MLflow server of a SQLite database, on loopback, by one worker."""
    server = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    return [*server, "--host", HOST, "--port", str(port), "--workers", "1"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print where each benchmark's runs are, and serve them until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m earshot.browse", description=__doc__)
    parser.add_argument("configs", nargs="+", help="config files, each overriding the ones before it")
    parser.add_argument("--port", type=int, default=5000)
    given = parser.parse_args(arguments)
    tracking = read(given.configs).mlflow
    path = sqlite_file(tracking.uri)
    if path is None:
        print(f"runs are logged to {tracking.uri}, which is no database to serve here: a server's address opens in a browser")
        return
    if not path.exists():
        sys.exit(
            f"{path} does not exist: nothing was logged yet (`make demo` does), or it was moved: "
            "`snakemake --cores 1 --forcerun log_to_mlflow log_parses log_prompts` logs again"
        )
    address = f"http://{HOST}:{given.port}"
    for name, link in links(tracking.uri, tracking.prefix, address):
        print(f"{name}: {link}", flush=True)
    os.execve(sys.executable, command(tracking.uri, given.port), {**os.environ, **_ENVIRONMENT})


if __name__ == "__main__":
    main()

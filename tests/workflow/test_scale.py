"""The full benchmark stays a workflow that can be planned: few jobs for many runs, and little memory."""

from pathlib import Path

import dag_scale

ROOT = Path(__file__).parents[2]
FULL = [ROOT / "tests" / "config" / "full.yaml"]


def test_the_full_benchmark_is_few_jobs_and_little_memory():
    config = dag_scale.read([ROOT / "config.yaml", *FULL])
    experiments = [config.experiments[name] for name in config.targets]
    assert {len(spec.corruptions) for spec in experiments} == {12} and all(len(spec.severities) == 5 for spec in experiments)
    assert dag_scale.runs_of(config) > 68_000
    jobs, _, memory = dag_scale.plan(FULL)
    assert jobs < 2_000
    assert memory < 1_024

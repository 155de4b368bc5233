"""Every task in the library: what it says without being imported, and that it defines what the workflow calls."""

from pathlib import Path

import pytest

from earshot import plugins, published_numbers
from earshot.knobs import Knobs
from earshot.tasks import LABELS, _knobs

TASKS = plugins.available("tasks")
PUBLISHED = Path(published_numbers.__file__).parent / "published"


@pytest.mark.parametrize("name", TASKS)
def test_a_task_tells_what_it_needs_and_what_it_scores_in_literals(name):
    told = plugins.describe("tasks", name)
    assert told["summary"] and told["segments"] > 0 and told["frame_px"] > 0
    assert set(told["truth"]) <= set(LABELS)
    assert len(set(told["metrics"])) == len(told["metrics"]) and told["select_by"] in told["metrics"]
    assert (PUBLISHED / f"{told['published']}.csv").exists()


@pytest.mark.parametrize("name", TASKS)
def test_a_task_defines_what_the_workflow_calls(name):
    wanted = {"Hyper", "build", "losses", "predict", "per_item", "import_weights"}
    assert wanted <= plugins.definitions("tasks", name)
    module = plugins.load("tasks", name)
    assert "Source:" in module.__doc__
    hyper = module.Hyper()
    assert isinstance(hyper, Knobs) and isinstance(hyper.optim, _knobs.Optim) and isinstance(hyper.train, _knobs.Train)
    with pytest.raises(ValueError, match="colour"):
        module.Hyper(colour="red")


@pytest.mark.parametrize("name", TASKS)
def test_a_group_of_knobs_may_be_given_in_part(name):
    module = plugins.load("tasks", name)
    hyper = module.Hyper.model_validate({"train": {"epochs": 1}})
    assert hyper.train == module.Hyper().train.model_copy(update={"epochs": 1})

"""One finished run of the tiny config, shared by all tests that only look at it."""

import pytest
from checkout import Checkout


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp("finished"))
    checkout.first = checkout.run(cores=2)
    return checkout

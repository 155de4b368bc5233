"""Numbers of the reference implementations, by name."""

import json
from pathlib import Path

TTA = Path(__file__).parent / "tta"


def golden(name):
    return json.loads((TTA / f"{name}.json").read_text())

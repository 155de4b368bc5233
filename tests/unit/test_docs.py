"""The documentation of corruptions says what their files say."""

from pathlib import Path

import pytest

from earshot import plugins

PAGE = Path(__file__).parents[2] / "docs" / "corruptions.md"


def row(name):
    """A corruption as a line of the page's tables."""
    spec = plugins.load("corruptions", name).SPEC
    return f"| `{name}` | {spec.title} | {values(spec.severities['default'])} | {spec.unit} |"


def values(table):
    return ", ".join(str(value).replace("'", "") for value in table)


@pytest.mark.parametrize("name", plugins.available("corruptions"))
def test_every_corruption_is_listed_with_its_table(name):
    assert name == "clean" or row(name) in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", plugins.available("corruptions"))
def test_tables_of_presets_are_listed(name):
    for preset, table in plugins.load("corruptions", name).SPEC.severities.items():
        if preset != "default":
            assert values(table) in PAGE.read_text(encoding="utf-8"), (name, preset)

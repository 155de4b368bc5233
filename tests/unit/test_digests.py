"""An edited function changes the digests of what depends on it, and of nothing else."""

import pytest

from earshot import digests, plugins


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "plug").mkdir()
    files = {
        "__init__.py": "",
        "low.py": "LIMIT = 3\n\ndef used():\n    'A docstring.'\n    return LIMIT\n\ndef unused():\n    return 4\n",
        "middle.py": "from earshot.low import used\nfrom earshot import low\n\n"
        "def one():\n    return used()\n\ndef two():\n    return low.unused()\n",
        "late.py": "def three():\n    from earshot.middle import one\n    return one()\n",
        "plug/__init__.py": "BASE = 1\n",
        "plug/a.py": "from earshot.plug import BASE\nclass Method:\n    value = BASE\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(digests, "_ROOT", tmp_path)
    yield tmp_path
    digests.forget()


def after(package, file, old, new, *entries):
    """Digests of the entries before and after an edit."""
    digests.forget()
    before = [digests.of(entry) for entry in entries]
    path = package / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    digests.forget()
    return [was == digests.of(entry) for was, entry in zip(before, entries, strict=True)]


ENTRIES = ("middle:one", "middle:two", "late:three", "plug.a")


@pytest.mark.parametrize(
    ("file", "old", "new", "same"),
    [
        ("low.py", "return LIMIT", "return LIMIT + 1", [False, True, False, True]),
        ("low.py", "LIMIT = 3", "LIMIT = 5", [False, True, False, True]),
        ("low.py", "return 4", "return 5", [True, False, True, True]),
        ("low.py", "A docstring.", "Another docstring.", [True, True, True, True]),
        ("low.py", "return 4", "return 4  # why", [True, True, True, True]),
        ("low.py", "def unused", "def new():\n    return 0\n\ndef unused", [True, True, True, True]),
        ("plug/__init__.py", "BASE = 1", "BASE = 2", [True, True, True, False]),
        ("low.py", "LIMIT = 3", "LIMIT = 3\nprint('at import')", [False, False, False, True]),
    ],
)
def test_exactly_the_dependents_change(package, file, old, new, same):
    assert after(package, file, old, new, *ENTRIES) == same


def test_an_entry_that_does_not_exist_is_an_error(package):
    digests.forget()
    with pytest.raises(ValueError, match=r"no definition 'on' in module 'middle'; there are: one, two"):
        digests.of("middle:on")
    with pytest.raises(ValueError, match="no module 'nowhere'"):
        digests.of("nowhere")


@pytest.mark.parametrize("name", plugins.available("methods"))
def test_editing_a_method_changes_its_own_digest_only(name):
    """On the real package: methods share helpers, but none depends on another's file."""
    assert digests.of(f"methods.{name}") != digests.of("methods.source") or name == "source"
    reached = {module for module, _ in digests._Module.read(f"methods.{name}").imports.values()}
    assert all(module.startswith("methods._") for module in reached if module.startswith("methods."))


@pytest.mark.parametrize("plugin", plugins.available("parsers"))
def test_a_parser_that_is_made_of_imports_is_digested_with_them(plugin):
    for module, name in (("_hybrid", "Layer"), ("_hybrid", "import_weights"), ("_knobs", "Optim")):
        assert digests._Module.read(f"parsers.{module}").symbols[name]
        assert (f"parsers.{module}", name) in reached(f"parsers.{plugin}")
    if plugin != "han":
        assert ("parsers._valor", "label_losses") in reached(f"parsers.{plugin}")


def reached(entry):
    """What a digest covers."""
    todo, seen = digests._entry(entry), set()
    while todo:
        module, name = todo.pop()
        if (module, name) not in seen:
            seen.add((module, name))
            todo += digests._Module.read(module).definition(name)[1]
    return seen

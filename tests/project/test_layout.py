"""The rooms of the package: what each may import, and where a rule's verb and module are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cardproof.cli.main import cli
from cardproof.evidence.provenance import STEPS
from helpers.order import LONGEST
from helpers.places import ROOT

PACKAGE = ROOT / "src" / "cardproof"
ORDER = (
    *(
        "errors",
        "records",
        "outside",
        "files",
        "config",
        "runs",
        "contract",
        "acquire",
        "evidence",
        "benchmark",
        "models",
        "sampling",
        "verifier",
    ),
    *("scoring", "training", "evaluation", "cards", "claims", "pages", "machine", "rehearsal", "cli", "__main__"),
)
"""A room may import itself and the rooms before it."""
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
RULE_FILES = sorted(p for p in (ROOT / "rules").glob("*.smk") if p.stem != "providers")
SHARED_VERBS = {
    "acquire_verifier": "acquire-model",
    "acquire_adapter": "acquire-model",
    "sample_train": "sample",
    "support_train": "support",
}
"""Rules that do another rule's work on other files."""


def room(module: Path) -> str:
    return module.parts[0].removesuffix(".py")


def imports(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse((PACKAGE / module).read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import is not seen by the fingerprints"
            if node.module == "cardproof":
                yield from (alias.name for alias in node.names if alias.name != "__version__")
            elif (node.module or "").startswith("cardproof."):
                yield str(node.module).removeprefix("cardproof.")
        elif isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("cardproof.") for alias in node.names if alias.name.startswith("cardproof."))


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_room_imports_only_rooms_before_it(module: Path) -> None:
    if module.name == "__init__.py" and len(module.parts) == 1:
        return
    for name in imports(module):
        assert ORDER.index(name.split(".")[0]) <= ORDER.index(room(module)), f"{module} imports {name}"


def test_no_two_modules_import_each_other() -> None:
    above: dict[str, set[str]] = {}
    for module in MODULES:
        name = ".".join(module.with_suffix("").parts)
        above[name] = set()
        for target in imports(module):
            above[name].add(target)
    for name, targets in above.items():
        for target in targets:
            assert name == target or name not in above.get(target, ()), f"{name} and {target} import each other"


def test_a_room_opens_with_one_sentence_and_exports_nothing() -> None:
    for path in PACKAGE.glob("*/__init__.py"):
        body = ast.parse(path.read_text()).body
        assert len(body) == 1 and ast.get_docstring(ast.parse(path.read_text())), f"{path} holds more than its docstring"


def rules() -> Iterator[tuple[str, str, str]]:
    """(file, rule, its text); a rule made by `use` has the text of its own lines."""
    for path in RULE_FILES:
        parts = re.split(r"(?m)^ *(?=(?:use )?rule \w+)", path.read_text())
        for part in parts[1:]:
            match = re.match(r"rule (\w+):|use rule \w+ as (\w+) with:", part)
            assert match
            yield path.stem, str(match[1] or match[2]), part


def test_every_rule_calls_the_verb_of_its_name_which_is_in_the_module_of_its_name() -> None:
    seen = {}
    for file, name, text in rules():
        verb = SHARED_VERBS.get(name, name.replace("_", "-"))
        assert verb in cli.commands
        if "shell:" in text:
            assert re.search(rf"(cardproof|\{{params\.sampler\}}) {verb} ", text), f"rule {name} does not call the verb {verb}"
        modules = list(PACKAGE.glob(f"*/{verb.replace('-', '_')}.py"))
        rooms = [m.parent.name for m in modules if m.parent.name != "cli"]
        assert rooms == [file], f"rule {name} is in {file}.smk, its module in {rooms}"
        seen[name] = verb
    assert {name for name, verb in seen.items() if name.replace("_", "-") != verb} == set(SHARED_VERBS)


def test_every_step_has_an_entry_module() -> None:
    for step, modules in STEPS.items():
        for module in modules:
            assert (PACKAGE / f"{module}.py").is_file(), f"{step}: there is no module {module}"


def test_no_two_test_files_share_a_name() -> None:
    """Pytest imports test files by their name alone: a second one of a name would not be collected."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))
    assert set(LONGEST) <= set(names), "tests/helpers/order.py names files that are not there"

"""The YAML at a card's head: tags, and the metrics of its `model-index`, each with the line it is printed on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from cardproof.cards.numbers import Printed, one_number

LARGEST = 200_000
"""Most characters of front matter that is read."""
DEEPEST = 20
MOST_NODES = 50_000

_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class IndexMetric:
    """One metric of the model-index."""

    type: str
    name: str
    value: Printed
    line: int
    task: str = ""
    dataset: str = ""
    """Type, name, configuration and split of its data, as printed."""
    split: str = ""


@dataclass
class FrontMatter:
    """What the head of a card says."""

    tags: set[str] = field(default_factory=set)
    """Tags, library, pipeline and tasks, in lower case."""
    base_model: str = ""
    metrics: list[IndexMetric] = field(default_factory=list)
    emissions: tuple[Printed, int] | None = None
    unread: list[tuple[int, str]] = field(default_factory=list)
    """Line and reason."""


def split_front_matter(lines: list[str]) -> tuple[int, int]:
    """First and last line (0-based, end excluded) of the YAML; (0, 0) if there is none."""
    first = next((i for i, line in enumerate(lines[:5]) if line.strip()), 0)
    if not lines or lines[first].strip() != "---":
        return (0, 0)
    for i in range(first + 1, len(lines)):
        if lines[i].rstrip() in {"---", "..."}:
            return (first + 1, i)
    return (0, 0)


def read_front_matter(lines: list[str], first: int) -> FrontMatter:
    """The front matter from its lines; `first` is the number of lines before it. What cannot be read is listed; it never raises."""
    front = FrontMatter()
    text = "\n".join(lines)
    if len(text) > LARGEST:
        front.unread.append((first + 1, f"the front matter has more than {LARGEST:,} characters"))
        return front
    try:
        node = _compose(text)
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        front.unread.append((first + 1 + (mark.line if mark else 0), f"not valid YAML: {getattr(e, 'problem', None) or e}"[:150]))
        return front
    except (RecursionError, ValueError, OverflowError) as e:
        front.unread.append((first + 1, f"YAML that cannot be read: {e}"[:150]))
        return front
    if not isinstance(node, yaml.MappingNode):
        return front
    top = _mapping(node)
    front.tags = _words(top.get("tags")) | _words(top.get("pipeline_tag")) | _words(top.get("library_name")) | _words(top.get("tag"))
    front.base_model = next(iter(_words(top.get("base_model"))), "")
    for model in _items(top.get("model-index")):
        for result in _items(_mapping(model).get("results")):
            _read_result(_mapping(result), front, first)
    emissions = _mapping(top.get("co2_eq_emissions")).get("emissions") or top.get("co2_eq_emissions")
    if isinstance(emissions, yaml.ScalarNode) and (number := one_number(emissions.value)):
        front.emissions = (number, first + emissions.start_mark.line + 1)
    return front


def _compose(text: str) -> yaml.Node | None:
    """The tree of a YAML text; ValueError for aliases, and for a tree too large or too deep."""
    depth = 0
    for nodes, event in enumerate(yaml.parse(text, Loader=_SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("aliases are not followed")
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1
        if depth > DEEPEST or nodes > MOST_NODES:
            raise ValueError("too deep or too large")
    composed: yaml.Node | None = yaml.compose(text, Loader=_SafeLoader)
    return composed


def _read_result(result: dict[str, yaml.Node], front: FrontMatter, first: int) -> None:
    task, data = _mapping(result.get("task")), _mapping(result.get("dataset"))
    kind = _scalar(task.get("type"))
    front.tags |= {kind.lower()} if kind else set()
    for metric in _items(result.get("metrics")):
        row = _mapping(metric)
        value = row.get("value")
        if value is None:
            continue
        line = first + value.start_mark.line + 1
        number = one_number(value.value) if isinstance(value, yaml.ScalarNode) else None
        if number is None:
            written = value.value if isinstance(value, yaml.ScalarNode) else "a list or mapping"
            front.unread.append((line, f"the model-index value {str(written)[:40]!r} is not a number"))
            continue
        front.metrics.append(
            IndexMetric(
                type=_scalar(row.get("type")),
                name=_scalar(row.get("name")),
                value=number,
                line=line,
                task=kind,
                dataset=" ".join(filter(None, (_scalar(data.get(k)) for k in ("type", "name", "config", "args", "split")))),
                split=_scalar(data.get("split")),
            )
        )


def _mapping(node: yaml.Node | None) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {str(k.value): v for k, v in node.value if isinstance(k, yaml.ScalarNode)}


def _items(node: yaml.Node | None) -> list[yaml.Node]:
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _scalar(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _words(node: yaml.Node | None) -> set[str]:
    if isinstance(node, yaml.ScalarNode):
        return {str(node.value).lower()}
    return {str(n.value).lower() for n in _items(node) if isinstance(n, yaml.ScalarNode)}

"""Print docs/config.md from the configuration model: `make generated` writes it, a test keeps it in sync."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from cardproof.config.settings import Arm, Config, Variant
from cardproof.config.texts import described, field_texts

HEAD = """# Configuration

Made by `make generated` from `src/cardproof/config/settings.py`; a test keeps it in sync.

`config.yaml` is the published recipe: the defaults below, written out. An overlay (`--configfile config/demo.yaml`) names only what differs
and is merged over it, key by key; of several, later ones win. Unknown keys are refused, with the nearest known one as a hint. Each run
writes its resolved configuration to `results/<run>/config.yaml`.

- `cardproof config --configfile config.yaml --configfile config/demo.yaml` checks a configuration and prints it.
- `cardproof config --explain` prints every value with its meaning; `--assumptions` only what the card does not state.
- `schemas/config.schema.json` is the JSON schema, for editors.

The meaning of a setting ends in where its default is from: *stated on the card*, or *assumed*, and why. Every assumption is listed on the
rendered card. None is the choice of the card's authors as far as anyone can know.

Changing a setting reruns only the steps that depend on it. `sampling.rows`, `sampling.shards`, `training.gradient_checkpointing`,
`runtime.gpus` and `runtime.memory_gb` are about speed and memory: they change no result, and all but `sampling.shards` rerun nothing.
"""


def rows() -> Iterator[tuple[str, Any, str]]:
    """(dotted path, default, meaning) of every setting; named entries (training runs, arms) appear once, as NAME."""
    for path, value, text in described(Config()):
        if not path.startswith(("training.variants.", "training.readings.", "arms.")):
            yield path, value, text
    for prefix, entry in (("training.variants.NAME", Variant()), ("training.readings.NAME", Variant()), ("arms.NAME", Arm())):
        for name, text in field_texts(type(entry)).items():
            yield f"{prefix}.{name}", getattr(entry, name), text


def sections() -> dict[str, list[tuple[str, Any, str]]]:
    """The rows by their first key, in the model's order; top-level values come first, under ''."""
    found: dict[str, list[tuple[str, Any, str]]] = {"": []}
    for name, field in Config.model_fields.items():
        if field.default is not None and isinstance(field.default, (BaseModel, dict)):
            found[name] = []
    for row in rows():
        found[row[0].split(".")[0] if "." in row[0] else ""].append(row)
    return found


def cell(text: str) -> str:
    """Text as it may stand in a table's cell."""
    return text.replace("|", r"\|").replace("<", "&lt;")


def main() -> None:
    """Print the page."""
    page = [HEAD]
    for name, entries in sections().items():
        page.append(f"\n## {f'`{name}`' if name else 'Top level'}\n")
        kind = Config.model_fields[name].annotation if name else None
        about = kind.__doc__ if isinstance(kind, type) and issubclass(kind, BaseModel) else field_texts(Config).get(name)
        if about:
            page.append(f"{' '.join(about.split())}\n")
        page.append("| key | default | meaning |\n|---|---|---|")
        page += [f"| `{path}` | `{cell(json.dumps(value, ensure_ascii=False))}` | {cell(text)} |" for path, value, text in entries]
    print("\n".join(page))


if __name__ == "__main__":
    main()

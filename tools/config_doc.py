"""Print docs/config.md from the configuration model. `make generated` writes it; a test keeps it in sync."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from cardproof.config.settings import Arm, Config, Variant
from cardproof.config.texts import described, field_texts

HEAD = """# Configuration

`make generated` writes this page from `src/cardproof/config/settings.py`; a test keeps it in sync.

`config.yaml` is the published recipe: the defaults below, written out. An overlay (`--configfile config/demo.yaml`) names only what
differs. It is merged over the recipe key by key; if there are several, later ones win. An unknown key is an error that names the nearest
known key. Each run writes its resolved configuration to `results/<run>/config.yaml`.

- `cardproof config --configfile config.yaml --configfile config/demo.yaml` checks a configuration and prints it.
- `cardproof config --explain` prints every value with its meaning; `--assumptions` prints only the assumptions.
- `schemas/config.schema.json` is the JSON schema. Editors use it to check a file and to show what each key means.

The meaning of each setting ends with one of three marks:

- *Stated on the card*: the card gives this value.
- *Assumed, because ...*: the card leaves it open, and here is why this value was taken. The rendered card lists every assumption. Only the
  card's authors know whether they chose the same.
- *Of the run, not of the card*: a name, a local path, or something about the machine. The card has no say in it.

A changed setting reruns only the steps that depend on it. `sampling.rows`, `sampling.prompt_lookup`, `sampling.shards`,
`training.gradient_checkpointing`, `runtime.gpus` and `runtime.memory_gb` affect speed and memory, never a result, except for last bits
(`sampling.prompt_lookup`, and on a GPU `sampling.rows`). Of these, only `sampling.shards` runs a model again. After a change of another
one, what shows the configuration is written again, in seconds: provenance, verdicts, figures, card, page.
"""


def rows() -> Iterator[tuple[str, Any, str]]:
    """(dotted path, default, meaning) of every setting. Named entries (training runs, arms) appear once, as NAME."""
    for path, value, text in described(Config()):
        if not path.startswith(("training.variants.", "training.readings.", "arms.")):
            yield path, value, text
    for prefix, entry in (("training.variants.NAME", Variant()), ("training.readings.NAME", Variant()), ("arms.NAME", Arm())):
        for name, text in field_texts(type(entry)).items():
            yield f"{prefix}.{name}", getattr(entry, name), text


def sections() -> dict[str, list[tuple[str, Any, str]]]:
    """The rows by their first key, in the model's order. Top-level values come first, under ''."""
    by_key: dict[str, list[tuple[str, Any, str]]] = {"": []}
    for name, field in Config.model_fields.items():
        if field.default is not None and isinstance(field.default, (BaseModel, dict)):
            by_key[name] = []
    for row in rows():
        by_key[row[0].split(".")[0] if "." in row[0] else ""].append(row)
    return by_key


def cell(text: str) -> str:
    """Text escaped for a cell of a table."""
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

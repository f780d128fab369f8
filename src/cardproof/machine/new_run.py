"""An overlay for a run of one's own: what is evaluated, on what, and against which card; every input checked before it is written."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cardproof.acquire import hub
from cardproof.acquire.adapters import check_adapter
from cardproof.acquire.folders import plain_files, refuse_remote_code
from cardproof.acquire.model_hash import fingerprint
from cardproof.acquire.sources import HUB_IDS
from cardproof.benchmark.acquire_benchmark import load_from_hub
from cardproof.benchmark.folder import load_folder
from cardproof.benchmark.parts import names_in, parts_of
from cardproof.claims.claims_file import parse_claims, read_claims
from cardproof.claims.draft import draft, to_yaml
from cardproof.config.reading import merge
from cardproof.config.settings import REFERENCE, Benchmark
from cardproof.errors import CardproofError
from cardproof.files import sha256_file
from cardproof.machine.preflight import Check
from cardproof.records import Passage, Question

HUB_ID = re.compile(r"(?P<id>[\w.-]{1,96}/[\w.-]{1,96})(?:@(?P<revision>[\w./-]{1,80}))?")
ARM = "mine"
"""What the adapter's arm is called."""
ASKED = {
    "model": "a folder, OWNER/NAME@REVISION, or smollm2-135m",
    "adapter": "a folder, or OWNER/NAME@REVISION",
    "data": "a folder with corpus and questions, or OWNER/NAME@REVISION",
}
HEAD = """# Written by `cardproof init`: base and adapter are evaluated, nothing is trained, at sizes for a CPU. docs/config.md says what
# each setting means. Larger: conditions.*.n, conditions.max_items, sampling.max_new_tokens; with a GPU: runtime.gpus.
"""


class Given(NamedTuple):
    """What a user names: each a local folder, or a name on the Hub as OWNER/NAME@REVISION; for models also OWNER/NAME."""

    name: str
    """Of the run."""
    model: str
    """The base model; also the name of an embedded one."""
    adapter: str
    data: str
    """Questions and corpus."""
    card: str | None
    """The published card in Markdown, or a claims file; None: no card."""


class NewRun(NamedTuple):
    """What is to be written, and what was checked."""

    overlay: dict[str, Any]
    claims: str | None
    """The drafted claims file; None where none is drafted."""
    checks: list[Check]


def prepare(given: Given, template: Path, claims_path: Path) -> NewRun:
    """The overlay on `template` for what was given, and a check of each input; a drafted claims file is to be written to `claims_path`."""
    checks: list[Check] = []

    def checked(name: str, look: Callable[[], Any], ok: Callable[[Any], str]) -> Any:
        """The outcome of a look at one input, or None; a fault is one failed check, so that all of them are seen at once."""
        try:
            found = look()
        except (CardproofError, OSError) as e:
            sentence, hint = (e.sentence, e.hint) if isinstance(e, CardproofError) else (f"{e.filename}: {e.strerror}.", "check the path.")
            checks.append(Check(name, "failed", sentence.rstrip("."), hint.rstrip(".")))
            return None
        checks.append(Check(name, "ok", ok(found)))
        return found

    def at(model: Origin) -> str:
        return f"{model.section['id']}: {model.told}"

    model = checked("model", lambda: _model(given.model), at)
    adapter = checked("adapter", lambda: _adapter(given.adapter, model), at)
    data = checked("data", lambda: _data(given.data), lambda found: f"{given.data}: {found.told}")
    overlay: dict[str, Any] = yaml.safe_load(template.read_text(encoding="utf-8"))
    claims = None
    if model and adapter and data:
        overlay = merge(
            overlay,
            {
                "run": given.name,
                "benchmark": data.section,
                "model": model.section,
                "arms": {ARM: {"adapter": adapter.section["source"], **{k: v for k, v in adapter.section.items() if k != "source"}}},
            },
        )
        stated = {"model": model.stated, "data": data.stated, "adapters": {ARM: adapter.stated}}
        if given.card:
            claims = checked("card", lambda: _card(Path(str(given.card)), stated), lambda found: f"{given.card}: {found.told}")
            overlay["published"] = str(claims_path) if claims and claims.text else given.card
    elif given.card:
        checked("card", lambda: _card(Path(str(given.card)), {}), lambda found: f"{given.card}: {found.told}")
    return NewRun(overlay, claims.text if claims else None, checks)


# --- inputs -----------------------------------------------------------------------------------------------------------


class Origin(NamedTuple):
    """A model, adapter or data: its settings, what a claims file states of it, and words for the user."""

    section: dict[str, Any]
    stated: dict[str, Any]
    told: str


def _model(name: str) -> Origin:
    if name in HUB_IDS:
        return Origin({"source": "embedded", "id": name, "revision": None}, {"id": name}, "embedded")
    folder = Path(name)
    if folder.is_dir():
        plain_files(folder)
        refuse_remote_code(folder)
        digest = fingerprint(folder)
        return Origin({"source": "folder", "id": name, "revision": None}, {"sha256": digest}, f"sha256 {digest[:12]}")
    return _of_the_hub(name, f"a folder, the name of an embedded model ({', '.join(HUB_IDS)}), or OWNER/NAME@REVISION on the Hub")


def _adapter(name: str, base: Origin | None) -> Origin:
    folder = Path(name)
    if not folder.is_dir():
        return _of_the_hub(name, "a folder with adapter_config.json and adapter_model.safetensors, or OWNER/NAME@REVISION on the Hub")
    if base is not None and base.section["source"] == "folder":
        check_adapter(folder, Path(base.section["id"]))
    # The run links the files that it uses, and its rollouts have the hash of these.
    with tempfile.TemporaryDirectory() as linked:
        for file in plain_files(folder):
            (Path(linked) / file.name).symlink_to(file.resolve())
        digest = fingerprint(Path(linked))
    unseen = "" if base and base.section["source"] == "folder" else "; whether it fits its base is seen when the run has it"
    told = f"sha256 {digest[:12]}{unseen}"
    return Origin({"source": "folder", "id": name, "revision": None}, {"sha256": digest}, told)


def _of_the_hub(name: str, wanted: str) -> Origin:
    found = HUB_ID.fullmatch(name)
    if not found:
        raise CardproofError(f"{name!r} is neither a folder nor a name on the Hub.", f"give {wanted}.")
    section = {"source": "hub", "id": found["id"], "revision": found["revision"]}
    told = "on the Hub" if found["revision"] else "on the Hub, at no revision: the newest is taken and recorded"
    return Origin(section, {key: section[key] for key in ("id", "revision") if section[key]}, told)


def _data(name: str) -> Origin:
    folder = Path(name)
    on_the_hub = None if folder.is_dir() else HUB_ID.fullmatch(name)
    if on_the_hub is None:
        told = _counted(*load_folder(folder))
        pins = {file: sha256_file(folder / file) for file in parts_of(names_in(folder), name).names}
        return Origin({"source": "folder", "path": name, "sha256": pins}, {"files": pins}, told)
    origin = {"id": on_the_hub["id"], "revision": on_the_hub["revision"]}
    if not hub.pinned(origin["revision"]):
        raise CardproofError(
            f"{name!r} is at no commit.", f"give {origin['id']}@COMMIT, with the 40 hexadecimal digits that its page on the Hub shows."
        )
    settings = Benchmark(source="hub", **origin)
    told = "on the Hub; its columns are checked when the run has it"
    if hub.in_mirror(settings.id, settings.revision, "dataset") or hub.from_cache(settings.id, str(settings.revision), "dataset"):
        with tempfile.TemporaryDirectory() as scratch:
            told = _counted(*load_from_hub(settings, Path(scratch, "data")))
    return Origin({"source": "hub", **origin, "path": None, "sha256": {}}, origin, told)


def _counted(passages: Sequence[Passage], questions: Sequence[Question]) -> str:
    several = sum(len(q.oracles) > 1 for q in questions)
    more = f", {several} of them with several gold passages" if several else ""
    return f"{len(questions)} questions on {len(passages)} passages{more}"


class _Card(NamedTuple):
    text: str | None
    told: str


def _card(path: Path, measured_with: dict[str, Any]) -> _Card:
    """A claims file, checked; or one drafted from a card in Markdown, which states what the run is given as what was measured with."""
    if path.suffix in (".yaml", ".yml"):
        file = read_claims(path)
        missing = "" if file.measured_with else "; it lacks `measured_with`, so no number will compare"
        return _Card(None, f"{len(file.claims)} claims{missing}")
    raw = draft(path)
    raw = {"card": raw["card"], "arms": [REFERENCE, ARM], "measured_with": measured_with, **{k: raw[k] for k in ("claims", "identities")}}
    parse_claims(raw, f"the draft of {path}")
    return _Card(to_yaml(raw, str(path)), f"{len(raw['claims'])} numbers drafted; give each its arm and its `result`")

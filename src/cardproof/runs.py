"""A run's folder, opened once: what its files are called, and each file read when it is first asked for.

The names here are paths below the run's folder. No other module spells them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cardproof import outside
from cardproof.errors import CardproofError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from cardproof.config.settings import Config

M = TypeVar("M", bound="BaseModel")

CONFIG = "config.yaml"
AUDIT = "audit.json"
CLAIMS = "claims.json"
RECONCILE = "evaluation/reconcile.json"
SELECTION = "distill/selection.json"
EXAMPLES = "distill/raft.jsonl"
"""The training set."""
LEAKAGE = "split/leakage.json"
VERIFIER = "verifier/metrics.json"
STEPS = "provenance/steps.json"
RECORDS = "provenance/files"
"""The folder of the records beside the results."""
LOGS = "provenance/logs.json"
LEFT_OUT = "provenance/left_out.json"
"""In an unpacked archive: the folders of weights that it leaves out."""
SIGNATURE = "provenance/chain.sig"
"""A signature over the run's chain, made with `cardproof sign`."""
REPLAYED = "provenance/replayed.json"
"""In a replayed run: what came from the archive."""
FIGURES = ("training_loss", "axes", "stress", "near_miss", "compute_curve", "published")
"""The figures, in the order of the card."""
CARD = "card/README.md"
BASE_CARD = "models/base/README.md"
"""The base model's own card, if it has one."""
PROMPT = "prompt.json"
"""What the card's code asks with, beside the card."""
EVAL_RESULTS = ".eval_results/cardproof.yaml"
"""The Hub's list of results, beside the card."""
EVALUATION = ("axes", "stress", "mechanism", "compute", "format_lock")
"""The result files of `evaluate`, in the order in which the card tells them."""
_SOURCES = ("models/*/source.json", "adapters/*/source.json", "revisions/*.json")


def evaluation(name: str) -> str:
    """A result file of `evaluate`."""
    return f"evaluation/{name}.json"


def metrics(variant: str) -> str:
    """The metrics of a training run; `*` for those of every one."""
    return f"training/{variant}/metrics.json"


def adapter(variant: str) -> str:
    """The folder of a trained adapter."""
    return f"training/{variant}/adapter"


def adapter_source(arm: str) -> str:
    """Where an arm's adapter from elsewhere is from, and what was noted of it."""
    return f"adapters/{arm}/source.json"


def prompts(condition: str) -> str:
    """The prompts of a condition."""
    return f"prompts/{condition}.jsonl"


def samples(arm: str, condition: str) -> str:
    """The rollouts of an arm under a condition."""
    return f"samples/{arm}/{condition}.jsonl"


def scores(arm: str, condition: str) -> str:
    """The scores of an arm under a condition."""
    return f"scores/{arm}/{condition}.parquet"


def figure(name: str, kind: str) -> str:
    """A figure: its data (`json`) or its drawing (`svg`, `png`)."""
    return f"figures/{name}.{kind}"


def figures_of(config: Config) -> list[str]:
    """The figures of a run, in the order of the card: without a published card none is drawn beside it, without training no loss."""
    has = {"published": config.published is not None, "training_loss": config.trains}
    return [name for name in FIGURES if has.get(name, True)]


class Run:
    """A run's folder. Nothing is read before it is asked for, and nothing twice."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.results: Mapping[str, Any] = _Results(self)
        """File of `evaluation/` -> its content as plain JSON."""
        self._json: dict[str, Any] = {}
        self._models: dict[str, BaseModel] = {}
        self._hashes: dict[str, str] = {}

    # --- its settings

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The resolved configuration as it is in the file, which may be another version's; CardproofError if it names no scale."""
        from cardproof.config import reading

        path = self.path(CONFIG)
        try:
            content = reading.parse(outside.read_bytes(path, outside.MOST_YAML), str(path))
        except OSError:
            raise CardproofError(
                f"{path} does not exist, so the scale of the run is unknown.", "give the folder of a run: results/NAME."
            ) from None
        if "scale" not in content:
            raise CardproofError(f"{path} names no scale.", "give the resolved configuration of a run; it has the keys run and scale.")
        return content

    @cached_property
    def config(self) -> Config:
        """The resolved configuration, checked; CardproofError names the first key that is wrong."""
        from cardproof.config import reading

        return reading.load(self.path(CONFIG))

    @property
    def scale(self) -> str:
        """The scale that the resolved configuration names."""
        return str(self.settings["scale"])

    def adapter(self, arm: str | None) -> str | None:
        """Where an arm's adapter comes from: `none`, `trained`, `hub` or `folder`; None for an unknown arm."""
        arms = self.settings.get("arms")
        entry = arms.get(arm) if isinstance(arms, dict) else None
        return str(entry.get("adapter", "none")) if isinstance(entry, dict) else None

    # --- its files

    def path(self, file: str) -> Path:
        """Where a file of the run is; CardproofError if a link leads to it, or its name leads out of the run."""
        return outside.inside(self.folder, file, str(self.folder), "take the run from where it was made: its files are plain ones.")

    def has(self, file: str) -> bool:
        """True if the run has the file."""
        return self.path(file).is_file()

    def hash(self, file: str) -> str:
        """sha256 of a file; of the configuration as it may leave the machine."""
        from cardproof.config.places import published
        from cardproof.files import sha256_bytes, sha256_file

        if file not in self._hashes:
            path = self.path(file)
            clean = published(outside.read_bytes(path, outside.MOST_YAML), str(path)) if file == CONFIG else None
            self._hashes[file] = sha256_file(path) if clean is None else sha256_bytes(clean)
        return self._hashes[file]

    def json(self, file: str, hint: str | None = None) -> Any:
        """The content of a JSON file; CardproofError if it is missing (with this hint, if any) or broken."""
        from cardproof.files import read_json

        if file not in self._json:
            if hint is not None and not self.has(file):
                raise CardproofError(f"{self.path(file)} does not exist.", hint)
            self._json[file] = read_json(self.path(file))
        return self._json[file]

    def json_if(self, needed: bool, file: str) -> Any:
        """The content of a JSON file; None if it is missing and not needed."""
        return self.json(file) if needed or self.has(file) else None

    def read(self, file: str, model: type[M], hint: str | None = None) -> M:
        """A JSON file as a model; CardproofError names the first key that does not fit."""
        from pydantic import ValidationError

        from cardproof.errors import of_validation

        if file not in self._models:
            content = self.json(file, hint)
            try:
                self._models[file] = model.model_validate(content)
            except ValidationError as e:
                again = "another version made it: run the step that makes it again."
                raise of_validation(e, str(self.path(file)), model, hint=again) from None
        result = self._models[file]
        assert isinstance(result, model)
        return result

    def at(self, file: str, pointer: str) -> Any:
        """What a JSON pointer into a file leads to; KeyError if it leads nowhere."""
        content = self.settings if file == CONFIG else self.json(file)
        for part in pointer.strip("/").split("/"):
            if isinstance(content, list) and part.isdecimal() and int(part) < len(content):
                content = content[int(part)]
            elif isinstance(content, dict) and part in content:
                content = content[part]
            else:
                raise KeyError(pointer)
        return content

    # --- what several rooms ask of them

    @cached_property
    def steps(self) -> dict[str, dict[str, Any]]:
        """Rule -> {code, config}: the fingerprints that each step recorded; empty before they are."""
        content = self.json(STEPS) if self.has(STEPS) else {}
        if not isinstance(content, dict):
            raise CardproofError(f"{self.path(STEPS)} is not a mapping of rules.", "delete it and run the workflow again.")
        return {rule: step for rule, step in content.items() if isinstance(step, dict)}

    def training(self, model: type[M]) -> dict[str, M]:
        """Training run -> its metrics, for each one that an arm uses, and for each further one that was trained."""
        used = {arm.variant for arm in self.config.sampled_arms.values() if arm.adapter == "trained"}
        names = [name for name in self.config.training_runs if name in used or self.has(metrics(name))]
        return {name: self.read(metrics(name), model) for name in names}

    def adapter_notes(self) -> list[dict[str, str]]:
        """What was noted when an adapter was acquired: arm, the file that says so, the sentence."""
        entries = []
        for arm in self.config.sampled_arms:
            file = adapter_source(arm)
            use = (self.json(file).get("use") if self.has(file) else None) or {}
            entries += [{"arm": arm, "file": file, "note": str(note)} for note in use.get("notes", [])]
        return entries

    def unpinned(self) -> list[dict[str, str]]:
        """What was taken from the Hub at a revision that nobody pinned: the file that says so, name, revision."""
        entries = []
        for path in sorted(p for pattern in _SOURCES for p in self.folder.glob(pattern)):
            file = path.relative_to(self.folder).as_posix()
            source = self.json(file)
            # Models and adapters are told by their own folders; any other revision looked up is a benchmark's.
            if source.get("pinned") is False and source.get("kind") != "model":
                entries.append({"file": file, "name": source["name"], "revision": source["revision"]})
        return entries


class _Results(Mapping[str, Any]):
    """The result files of `evaluate` by name, each read when it is first asked for."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __getitem__(self, name: str) -> Any:
        return self._run.json(evaluation(name))

    def __iter__(self) -> Iterator[str]:
        return iter(EVALUATION)

    def __len__(self) -> int:
        return len(EVALUATION)

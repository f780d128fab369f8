"""Publishing a finished run on the Hub: the adapter that the card is about, the card, the files that it names as sources, prompts and page.

Nothing is sent unless asked for. A run whose chain of records is broken is refused, and so are made-up results. A run that is not a
reproduction cannot use the published card's name. Prompts and page hold the data's texts, so they are sent only where its licence allows
that (`header.texts`). The token comes from the environment and goes nowhere else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from cardproof import outside
from cardproof.acquire.lora import SETTINGS, WEIGHTS
from cardproof.acquire.model_hash import fingerprint
from cardproof.claims.comparable import against, hashes
from cardproof.claims.verdicts import Compared, verdicts_of
from cardproof.config.places import published
from cardproof.errors import CardproofError, shown
from cardproof.evidence.sidecars import NOT_CONTENT
from cardproof.evidence.verify import AGAIN, Chain, Files, check
from cardproof.files import sha256_file
from cardproof.pages import card_metadata, data_set
from cardproof.pages.card import subject_of
from cardproof.pages.usage import HERE, texts_allowed, told_adapter
from cardproof.runs import CARD, CLAIMS, CONFIG, EVAL_RESULTS, PROMPT, Run, adapter, adapter_source

NO_TEXTS = "no prompts, replies and training examples: they hold texts of the data; set header.texts if its licence allows passing them on"
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_MARK = re.compile(r"<!-- ([^\s#]+)#\S* -->")
_LINK = re.compile(r"\]\(\.\./([\w./-]+)(?:#[^)]*)?\)")
_MOVED = re.compile(r"\]\(\.\./(?=[\w./-]+(?:#[^)]*)?\))")
_ROWS = re.compile(r"\[([^\[\]]+)\]\(\.\./report/[^)#]*#rows=[^)]*\)")
"""A number that links to its rows on the page."""
_PAGE = re.compile(r"\[([^\]]+)\]\(\.\./report/[^)]*\)")
PUBLIC = re.compile(
    r"(?:evaluation|verifier|distill|split|provenance)/[\w.-]+\.json|training/[\w.-]+/(?:metrics|cost)\.json|figures/[\w.-]+\.(?:json|svg|png)"
    r"|(?:claims|audit)\.json|config\.yaml|(?:models|adapters)/[\w.-]+/source\.json|revisions/[\w.-]+\.json"
)
"""What a card may name as a source: results and figures, and nothing that holds passages or weights."""
_TEXTS = re.compile(r"report/[\w./-]+|(?:prompts|samples/[\w.-]+)/[\w.-]+\.jsonl")
"""What holds texts of the data: page, prompts and replies. They are sent only where the licence allows it."""


class Upload(NamedTuple):
    """The content of a repository."""

    repository: str
    """OWNER/NAME."""
    files: dict[str, Path | bytes]
    """Path in the repository -> file, or its content if that is not a file's."""
    adapter: str
    """The adapter that the card is about, in words: its arm, its hash, and where it is from."""
    sent: bool
    """Whether its weights are among the files; an adapter of the Hub is there already."""
    reproduction: bool | None
    """Whether the run compares with its published card; None without one."""
    differing: list[Compared]
    """What keeps it from comparing."""
    texts: bool
    """True if prompts and page are among the files: the licence of the data allows it."""
    kind: Literal["model"] = "model"
    """What the Hub calls such a repository."""


class DataUpload(NamedTuple):
    """The content of a repository with samples and scores."""

    repository: str
    files: Mapping[str, Path]
    tables: list[data_set.Table]
    texts: bool
    """True if prompts, replies and training examples are in it: the licence of the data allows it."""
    kind: Literal["dataset"] = "dataset"


def publishable(folder: Path) -> tuple[Run, Chain]:
    """A run and its chain of evidence; CardproofError if its results are made up, or do not follow from their inputs."""
    run = Run(folder)
    refuse_made_up(run)
    chain = check(run.folder)
    if chain.state != "whole":
        problem = chain.problems[0].sentence if chain.problems else f"{run.folder} has no record of how its results were made."
        raise CardproofError(f"Not to be published: {problem}", AGAIN)
    return run, chain


def prepare_data_set(folder: Path, repository: str, templates: Path, scratch: Path) -> DataUpload:
    """What publishing a run's samples and scores would send, written to `scratch`; CardproofError as `prepare`."""
    run, chain = publishable(folder)
    _check_name(repository, run)
    tables = data_set.write(run, chain, templates, scratch)
    names = ["README.md", *(name for table in tables for name in table.files.values())]
    return DataUpload(repository, {name: scratch / name for name in names}, tables, texts_allowed(run.config))


def prepare(folder: Path, repository: str) -> Upload:
    """What publishing the run would send; CardproofError if it must not be published, or lacks a file."""
    run, _ = publishable(folder)
    _check_name(repository, run)
    if not run.has(CARD):
        raise CardproofError(f"{run.path(CARD)} does not exist.", "render the card first: run the workflow.")
    listed = Files(run.folder)
    text = outside.read_text(run.path(CARD))
    beside = PurePosixPath(CARD).parent
    entries = run.path((beside / EVAL_RESULTS).as_posix())
    results = outside.read_text(entries) if entries.is_file() else None
    card_metadata.check(text, results)
    texts = texts_allowed(run.config)
    if not texts:
        text = without_page(text)
    # In the repository the card is beside the folders of figures and page, not in a folder of its own.
    files: dict[str, Path | bytes] = {"README.md": moved(text).replace(HERE, repository).encode()}
    if (prompt := (beside / PROMPT).as_posix()) in listed.plain:
        files[PROMPT] = run.path(prompt)
    if results is not None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        files[EVAL_RESULTS] = card_metadata.sourced(results, repository, now).encode()
    for name in sorted({*_MARK.findall(text), *_LINK.findall(text), CLAIMS}):
        files |= {found: run.path(found) for found in _named(name, listed, texts)}
    if texts:
        files |= {
            found: run.path(found)
            for found in listed.plain
            if _TEXTS.fullmatch(found) and not found.startswith("samples/") and PurePosixPath(found).name not in NOT_CONTENT
        }
    files[CONFIG] = published(outside.read_bytes(run.path(CONFIG), outside.MOST_YAML), str(run.path(CONFIG)))
    subject = subject_of(run.config)
    weights = _weights(run, listed, subject)
    files |= weights
    verdicts = verdicts_of(run)
    reproduction = None if verdicts.card is None else verdicts.comparable
    return Upload(repository, files, told_adapter(run, subject), bool(weights), reproduction, against(verdicts.compared), texts)


def _weights(run: Run, listed: Files, subject: str) -> dict[str, Path | bytes]:
    """The files of the adapter that the card is about: trained by the run, or from a local folder; none of one that is on the Hub.

    CardproofError if a folder's adapter is not the one that the rollouts were drawn with.
    """
    arm = run.config.arms[subject]
    if arm.variant:
        of = adapter(arm.variant)
        names = [name for name in listed.below(of) if name.endswith((".safetensors", ".json")) and str(PurePosixPath(name).parent) == of]
        if not any(name.endswith(".safetensors") for name in names):
            lacks = f"Not to be published: the run has no weights of the adapter that its card is about ({of})."
            raise CardproofError(lacks, "publish the run that trained it: an archive has no weights, nor has a run replayed from one.")
        return {PurePosixPath(name).name: run.path(name) for name in names}
    if arm.adapter != "folder":
        return {}
    given = Path(str(arm.id))
    taken = run.path(adapter_source(subject)).parent
    own = [taken / name for name in (SETTINGS, WEIGHTS)]
    if (
        not all(path.is_file() and path.resolve().parent == given.resolve() for path in own)
        or fingerprint(taken) != hashes(run, subject)[1]
    ):
        raise CardproofError(
            f"Not to be published: the adapter in {given} is not the one that the run evaluated.", "put it back, or run the workflow again."
        )
    return {path.name: path.resolve() for path in own}


def moved(text: str) -> str:
    """A card's text with its links as they are in the repository, where it lies beside the folders of figures and page."""
    return _MOVED.sub("](", text)


def without_page(text: str) -> str:
    """A card's text where the page is not published: its numbers link to no rows, and the page's name says why."""
    return _PAGE.sub(r"\1 (not published)", _ROWS.sub(r"\1", text))


def _named(name: str, listed: Files, texts: bool) -> list[str]:
    """The files of a run that a mark or a link of its card names; `{variant}` and its like mean every column of a table.

    CardproofError if it names anything but results and figures: the card may be anyone's, and passages are not to be published.
    """
    pattern = re.sub(r"\\\{\w+\\\}", r"[\\w.-]+", re.escape(name))
    if _TEXTS.fullmatch(name) and not texts:
        return []
    public = PUBLIC.fullmatch(re.sub(r"\{\w+\}", "x", name)) or _TEXTS.fullmatch(name)
    if outside.unsafe(name) or not public:
        raise CardproofError(f"Not to be published: the card names {name!r:.200}, which is not a result.", "render the card again.")
    return [found for found in listed.plain if re.fullmatch(pattern, found)]


def push(upload: Upload | DataUpload, private: bool, message: str, environment: Mapping[str, str] = os.environ) -> str:
    """Send everything in one commit, and make the repository if there is none; returns the commit's address.

    Raises CardproofError without a token, if a file has it in it, and if the Hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    from cardproof.acquire.hub import asking

    token = next((environment[name] for name in TOKENS if environment.get(name)), None)
    if token is None:
        raise CardproofError("There is no token to publish with.", f"set {TOKENS[0]} to one that may write to {upload.repository}.")
    for name, content in upload.files.items():
        refuse_tokens(name, content, {TOKENS[0]: token})
    operations = [CommitOperationAdd(name, content) for name, content in upload.files.items()]
    api = HfApi(token=token)

    def send() -> str:
        api.create_repo(upload.repository, repo_type=upload.kind, private=private, exist_ok=True)
        commit = api.create_commit(upload.repository, operations, repo_type=upload.kind, commit_message=message)
        return str(commit.commit_url)

    return asking(upload.repository, send, writing=True)


def refuse_made_up(run: Run) -> None:
    """Raise CardproofError if the results of a run that is to leave the machine are made up."""
    if run.config.synthetic:
        raise CardproofError("Not to be published: the results of this run are made up.", "publish a run that a model made.")


def refuse_tokens(name: str, content: Path | bytes, environment: Mapping[str, str]) -> None:
    """Raise CardproofError if a file that is to leave the machine has a token of the environment in it."""
    known = [environment[variable].encode() for variable in TOKENS if environment.get(variable)]
    if known and any(token in (content if isinstance(content, bytes) else content.read_bytes()) for token in known):
        raise CardproofError(f"{name} has the token itself in it.", "make a new token, and find out how this one got there.")


def render_text(upload: Upload) -> str:
    """What would be sent, a line for each file: size, sha256, path."""
    kind = {True: " (a reproduction)", False: " (not a reproduction, and its card says so)"}
    lines = [f"{upload.repository}: {len(upload.files)} files{'' if upload.reproduction is None else kind[upload.reproduction]}"]
    lines += [f"  {check.what} differs: the card's {check.card}; this run's {check.run}" for check in upload.differing]
    lines.append(f"  {upload.adapter}")
    if not upload.sent:
        lines.append("  its weights are not sent: they are on the Hub already")
    if not upload.texts:
        lines.append("  no prompts and no page: they hold texts of the data; set header.texts if its licence allows sending them")
    return "\n".join([*lines, *_listed(upload.files)])


def render_data_set(upload: DataUpload) -> str:
    """The same for a data set: what it holds, and a line for each file."""
    lines = [f"{upload.repository} (a data set): {len(upload.files)} files"]
    lines += [f"  {table.name}: {table.rows:,} rows ({', '.join(table.files)})" for table in upload.tables]
    if not upload.texts:
        lines.append(f"  {NO_TEXTS}")
    return "\n".join([*lines, *_listed(upload.files)])


def _listed(files: Mapping[str, Path | bytes]) -> Iterator[str]:
    for name, content in files.items():
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        digest = "changed here" if isinstance(content, bytes) else sha256_file(content)[:12]
        yield f"  {size:>12,}  {digest:<13}  {shown(name)}"


def _check_name(repository: str, run: Run) -> None:
    """Refuse an invalid repository name, or the published model's own."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise CardproofError(f"{repository!r} is not a repository of the Hub.", "name it OWNER/NAME.")
    verdicts = verdicts_of(run)
    taken = verdicts.card
    if taken is not None and not verdicts.comparable and repository.endswith(f"/{taken}"):
        raise CardproofError(
            f"{taken!r} is the published model's name, and the run {run.config.run!r} is not a reproduction of it.",
            "publish under a name of your own.",
        )

"""Options that say which files a verb reads and makes, and the record that a verb leaves beside each result it made."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cardproof import runs
from cardproof.errors import unwritable

if TYPE_CHECKING:
    from cardproof.config.settings import Config

FILE = click.Path(path_type=Path)
EVALUATED = tuple(map(runs.evaluation, runs.EVALUATION))
TRAINING = runs.metrics("*")
Files = Callable[[Path, "Config | None"], list[Path]]
"""The files behind the value of an option, given the configuration of the run they lie in."""
Step = Callable[[dict[str, Any]], tuple[str, dict[str, str]]]
"""The step that a call does, by the values of its options, and the condition or training run that its settings depend on."""


def itself(path: Path, config: Config | None) -> list[Path]:
    """The file or folder that an option names."""
    return [path]


def below(*patterns: str) -> Files:
    """Files below the folder that an option names, by glob patterns; `{arm}` and `{condition}` are those of the configuration."""

    def files(folder: Path, config: Config | None) -> list[Path]:
        from cardproof.config.settings import CONDITIONS

        arms = list(config.sampled_arms) if config else []
        each = product(arms, CONDITIONS)
        names = [p for p in patterns if "{" not in p]
        names += [p.format(arm=arm, condition=condition) for arm, condition in each for p in patterns if "{" in p]
        return sorted(path for name in names for path in folder.glob(name) if path.is_file() or path.is_symlink())

    return files


def beside(*names: str) -> Files:
    """The file that an option names, and others in its folder."""
    return lambda path, config: [path, *(path.parent / name for name in names)]


class Roles:
    """A parameter whose value names files: those that the verb reads, and those that it makes."""

    def __init__(self, *args: Any, reads: Sequence[Files | None] = (), makes: Sequence[Files | None] = (), **options: Any) -> None:
        super().__init__(*args, **options)
        self.reads, self.makes = reads, makes

    def files(self, value: Any, roles: Sequence[Files | None], config: Config | None) -> Iterator[Path]:
        """The files behind a value. A parameter that takes several paths at once has a role for each of them."""
        if not value or not roles:
            return
        for row in value if isinstance(value, tuple) else [value]:
            for path, role in zip(row if isinstance(row, tuple) else [row], roles, strict=True):
                if role is not None:
                    yield from role(Path(path), config)


class FileOption(Roles, click.Option):
    """An option with roles."""


class FileArgument(Roles, click.Argument):
    """An argument with roles."""


def reads(name: str, text: str, files: Files = itself, **options: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A path option of what a verb reads; required unless `required=False`."""
    return click.option(name, cls=FileOption, type=FILE, help=text, reads=[files], **{"required": "default" not in options, **options})


def makes(name: str, text: str, files: Files = itself, **options: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A path option of what a verb makes; required unless `required=False`."""
    return click.option(name, cls=FileOption, type=FILE, help=text, makes=[files], **{"required": True, **options})


def folder(name: str, text: str, **options: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A path option of a folder that is not a result: work in progress, or the run itself."""
    return click.option(name, type=FILE, help=text, **{"required": True, **options})


class Recorded(click.Command):
    """A verb that leaves a record beside each result it made (see `cardproof.evidence.sidecars`)."""

    def __init__(self, *args: Any, step: Step | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.step: Step = step or (lambda values: (str(self.name).replace("-", "_"), {}))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb, then record what it made. A verb that ends with an exit code of its own has made its results all the same."""
        self.keep_inside(ctx)
        try:
            result = super().invoke(ctx)
        except SystemExit:
            self.record(ctx)
            raise
        except Exception as e:
            if (error := unwritable(e)) and error.filename is None:
                raise OSError(error.errno, error.strerror, self.written(ctx)) from e
            raise
        self.record(ctx)
        return result

    def keep_inside(self, ctx: click.Context) -> None:
        """CardproofError if a file that the verb is given, reads or makes is reached by a link in a run: the run may be anyone's."""
        from cardproof import outside
        from cardproof.evidence.sidecars import configuration, run_of

        file = ctx.params.get("config_file")
        config = configuration(file) if file else None

        def keep(path: Path) -> None:
            absolute = Path(os.path.abspath(path))  # noqa: PTH100
            if (run := run_of(absolute)) is not None:
                outside.inside(run, absolute.relative_to(run).as_posix(), str(run), outside.PLAIN)

        # The options themselves first: a folder that is a link must not even be listed.
        for path in _paths(ctx.params.values()):
            keep(path)
        for path in dict.fromkeys([*self.files(ctx, "reads", config), *self.files(ctx, "makes", config)]):
            keep(path)

    def written(self, ctx: click.Context) -> str | None:
        """The file or folder that a library writes for the verb, and does not name in its errors."""
        return next((str(ctx.params[name]) for name in ("store", "out") if ctx.params.get(name)), None)

    def record(self, ctx: click.Context) -> None:
        """Write the records. A verb that was not told to make a file leaves none, nor does one whose files lie outside a run."""
        if not any(ctx.params.get(str(p.name)) for p in self.params if isinstance(p, Roles) and p.makes):
            return
        from cardproof.evidence import sidecars

        first = next(iter(self.files(ctx, "makes", None)), None)
        run = sidecars.run_of(first) if first else None
        if run is None:
            return
        config = sidecars.configuration(ctx.params.get("config_file") or run / runs.CONFIG)
        step, wildcards = self.step(ctx.params)
        call = sidecars.Call(
            step=step,
            wildcards=wildcards,
            inputs=self.files(ctx, "reads", config),
            outputs=self.files(ctx, "makes", config),
            command=_arguments_of(str(ctx.info_name)),
        )
        sidecars.record(call, run, config)

    def files(self, ctx: click.Context, role: str, config: Config | None) -> list[Path]:
        """What the call read or made, in the order of the options."""
        return [
            path
            for parameter in self.params
            if isinstance(parameter, Roles)
            for path in parameter.files(ctx.params.get(str(parameter.name)), getattr(parameter, role), config)
        ]


@contextmanager
def following(run: Path, files: Iterable[Path]) -> Iterator[None]:
    """Check that files of a run follow from their inputs, then let a verb judge by them; afterwards a note if the run has no records.

    Raises `verify.Broken`.
    """
    from cardproof.errors import shown
    from cardproof.evidence.verify import follow

    note = follow(run, [path.relative_to(run).as_posix() for path in files if path.is_file()])
    yield
    if note is not None:
        click.echo(f"note: {shown(note)}", err=True)


def _paths(values: Iterable[Any]) -> Iterator[Path]:
    """The paths among the values of options, which may be several at once."""
    for value in values:
        if isinstance(value, Path):
            yield value
        elif isinstance(value, tuple):
            yield from _paths(value)


def _arguments_of(verb: str) -> list[str]:
    """The command line from the verb on."""
    return sys.argv[sys.argv.index(verb) :] if verb in sys.argv else [verb]

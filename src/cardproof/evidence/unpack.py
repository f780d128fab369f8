"""An archive as a folder, for what reads runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from cardproof.evidence.archive import streamed


@contextmanager
def unpacked(source: Path) -> Iterator[Path]:
    """The folder of a run: the one given, or an archive's files in a folder that is removed afterwards.

    An archive may come from anyone: it is checked and bounded as `streamed` says, and its contents go to the disk as they come.
    """
    if source.is_dir():
        yield source
        return
    with TemporaryDirectory(prefix="cardproof-") as folder, streamed(source) as files:
        for packed in files:
            target = Path(folder) / packed.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "wb") as f:
                shutil.copyfileobj(packed.stream, f)
        yield Path(folder)

"""The one exception a user is meant to read: a sentence that names the place, and a hint what to write instead."""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Iterable

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)


class CardproofError(Exception):
    """Bad input, said in one sentence with a hint; the command line prints both and exits with `exit_code`."""

    exit_code = 2

    def __init__(self, sentence: str, hint: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.sentence}\nHint: {self.hint}"


def of_system(error: OSError) -> CardproofError:
    """What the system refused, with the file and what to do about it."""
    hint = "check the path."
    if error.errno in FULL:
        hint = "free space on that disk and run the same command again; finished work is kept."
    elif error.errno in CLOSED:
        hint = "check the path, and that it may be read and written; or work in another folder."
    # Of a copy, the file that was written is the second one.
    name = error.filename2 or error.filename or "a file"
    return CardproofError(f"{name}: {error.strerror or error}.", hint)


def unwritable(error: BaseException) -> OSError | None:
    """The full or closed disk behind an error of a library that writes files by itself; None where it is another error."""
    if isinstance(error, CardproofError):
        return None
    if isinstance(error, OSError) and error.errno is not None:
        return error if error.errno in (*FULL, *CLOSED) else None
    text = str(error)
    number = re.search(r"os error (\d+)|\[Errno (\d+)\]", text)
    code = int(number[1] or number[2]) if number else next((n for n in (*FULL, *CLOSED) if os.strerror(n) in text), None)
    # PyTorch says no more than that less was written than it wanted.
    if code is None and isinstance(error, RuntimeError) and "inline_container" in text:
        code = errno.ENOSPC
    return OSError(code, os.strerror(code)) if code in (*FULL, *CLOSED) else None


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word nearest to a misspelt one, or None where nothing is near."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return found[0] if found else None

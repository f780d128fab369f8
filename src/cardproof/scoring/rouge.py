"""ROUGE-L as `rouge_score` computes it, at the speed of a compiled subsequence."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Literal, cast


class Rouge:
    """ROUGE-L F1 with Porter stemming (Lin 2004), the value `rouge_score` computes, with the same arithmetic.

    `rouge_score` knows Latin letters and digits alone: in any other script, identical texts get 0. With `words` latin, a reference that is
    mostly in another script is therefore compared by its Unicode words, case folded; with unicode every reference is. In scripts without
    spaces between words, each character is one.

    A text becomes a string with one character for each stem, so that the longest common subsequence is one call of rapidfuzz. The
    characters of up to `WORDS` words are remembered; all replies of a run use a few thousand.
    """

    WORDS = 200_000

    def __init__(self, words: Literal["latin", "unicode"] = "latin") -> None:
        self._words = words
        self._stem = _porter()
        self._forget()

    def _forget(self) -> None:
        self._stems: dict[str, str] = {}
        self._letters = _Letters(self._letter)
        self._references: dict[str, tuple[str, bool]] = {}

    def _letter(self, word: str) -> str:
        """The character of a word's stem; empty for a stem that `rouge_score` drops."""
        stem = self._stem(word) if len(word) > 3 else word
        return self._stems.setdefault(stem, chr(len(self._stems))) if _TOKEN.fullmatch(stem) else ""

    def _tokens(self, text: str) -> str:
        return "".join(map(self._letters.__getitem__, _TOKEN.findall(text.lower())))

    def _unicode_tokens(self, text: str) -> str:
        """The same of Unicode words, which are not stemmed and have characters of their own."""
        return "".join(self._stems.setdefault(f" {word}", chr(len(self._stems))) for word in unicode_words(text))

    def __call__(self, answer: str, reference: str) -> float:
        """F1 in [0, 1]."""
        from rapidfuzz.distance.LCSseq import similarity

        if len(self._stems) > self.WORDS or len(self._letters) > self.WORDS:
            self._forget()
        known = self._references.get(reference)
        if known is None:
            if len(self._references) > 1000:
                self._references.clear()
            latin = self._words == "latin" and mostly_latin(reference)
            known = self._references[reference] = (self._tokens if latin else self._unicode_tokens)(reference), latin
        theirs, latin = known
        ours = self._tokens(answer) if latin else self._unicode_tokens(answer)
        if not ours or not theirs:
            return 0.0
        common = similarity(ours, theirs)
        precision, recall = common / len(ours), common / len(theirs)
        return 2 * precision * recall / (precision + recall) if common else 0.0


_TOKEN = re.compile("[a-z0-9]+")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def mostly_latin(text: str) -> bool:
    """Whether at least half of the letters and digits of a text are ones that `rouge_score` knows."""
    return text.isascii() or 2 * sum(map(len, _TOKEN.findall(text.lower()))) >= sum(ch.isalnum() for ch in text)


def unicode_words(text: str) -> list[str]:
    """Runs of letters, digits and the marks that go with them, after NFKC and case folding; single characters of unspaced scripts."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    parted = "".join(ch if unicodedata.category(ch)[0] in "LMN" else " " for ch in folded)
    return _UNSPACED.sub(r" \g<0> ", parted).split()


def _porter() -> Callable[[str], str]:
    """The stemmer that `rouge_score` uses, NLTK's, loaded alone: all of NLTK brings SciPy, and takes 0.7 s at every start of the verb."""
    folder = None if "nltk" in sys.modules else find_spec("nltk")
    if folder is None or not folder.submodule_search_locations:
        from nltk.stem.porter import PorterStemmer

        return cast("Callable[[str], str]", PorterStemmer().stem)
    root = Path(folder.submodule_search_locations[0])
    try:
        # Empty packages in the place of NLTK's own, whose first lines import everything.
        for name, place in (("nltk", root), ("nltk.stem", root / "stem")):
            package = sys.modules[name] = ModuleType(name)
            package.__path__ = [str(place)]
        return cast("Callable[[str], str]", import_module("nltk.stem.porter").PorterStemmer().stem)
    finally:
        for name in [n for n in sys.modules if n.partition(".")[0] == "nltk"]:
            del sys.modules[name]


class _Letters(dict[str, str]):
    """Word -> its character, filled when a word first occurs."""

    def __init__(self, letter: Callable[[str], str]) -> None:
        super().__init__()
        self._letter = letter

    def __missing__(self, word: str) -> str:
        self[word] = found = self._letter(word)
        return found

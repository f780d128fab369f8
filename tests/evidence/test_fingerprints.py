"""Fingerprints of code: the same under every Python version, and other ones for other code."""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cardproof.evidence import skeleton as module
from cardproof.evidence.provenance import PACKAGE, STEPS, modules_of
from cardproof.evidence.skeleton import skeleton

ASKED = """
import ast, hashlib, importlib.util, json, pathlib, sys
spec = importlib.util.spec_from_file_location("skeleton", sys.argv[1])
loaded = importlib.util.module_from_spec(spec)
spec.loader.exec_module(loaded)
files = sorted(pathlib.Path(sys.argv[2]).rglob("*.py"))
texts = {str(p): loaded.skeleton(ast.parse(p.read_text(encoding="utf-8"))) for p in files}
print(json.dumps({name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}))
"""
HARD = '''
"""Docstring."""
x = f"{{{value!r:>{width}.{places}f}}} and {other=}" f"{a}" "b" f"" "c" f"{d:{e}}"
y = "\\U0001fae8 \\U0001f6dc" if 0 else ("a" "b", 1_000, 1e300, 2j, ..., rb"\\d")
type_of = lambda a, /, b, *, c=1, **d: (yield a)
'''
"""What versions cut or print differently: formatted strings, and characters that later versions of Unicode know."""


def pythons() -> list[str]:
    """Interpreters of other versions that this machine can start."""
    found = [path for minor in range(11, 15) if (path := shutil.which(f"python3.{minor}"))]
    starts = [path for path in found if subprocess.run([path, "-c", ""], capture_output=True).returncode == 0]
    return [path for path in starts if Path(path).name != f"python3.{sys.version_info.minor}"]


def digests(python: str, folder: Path) -> dict[str, str]:
    done = subprocess.run([python, "-c", ASKED, module.__file__, str(folder)], capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


@pytest.mark.skipif(not pythons(), reason="no other Python version is on PATH")
def test_every_python_version_gives_the_same_fingerprints(tmp_path: Path) -> None:
    (tmp_path / "hard.py").write_text(HARD, encoding="utf-8")
    for folder in (PACKAGE, tmp_path):
        ours = digests(sys.executable, folder)
        for python in pythons():
            assert digests(python, folder) == ours, python


def test_pieces_of_a_formatted_string_do_not_count() -> None:
    """Python 3.12.1 ends a nested format with an empty piece, where 3.11 and 3.13 do not."""
    whole = ast.parse('f"a{x:<{w}}b"')
    cut = ast.parse('f"a{x:<{w}}b"')
    for node in ast.walk(cut):
        if isinstance(node, ast.JoinedStr):
            node.values.append(ast.Constant(""))
            node.values.insert(0, ast.Constant(""))
    assert ast.dump(whole) != ast.dump(cut)
    assert skeleton(whole) == skeleton(cut)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('f"a{x}"', 'f"{x}a"'),
        ('f"{x}"', 'f"{x!r}"'),
        ('f"{x:>3}"', 'f"{x:>4}"'),
        ('f"{x}{y}"', 'f"{x}-{y}"'),
        ("x = 1", "x = 1.0"),
        ("x = 'a'", "x = b'a'"),
        ("def f(): return 1", "def f(): return 2"),
    ],
)
def test_other_code_has_another_fingerprint(one: str, other: str) -> None:
    assert skeleton(ast.parse(one)) != skeleton(ast.parse(other))


def test_every_module_of_a_step_is_plain_text_to_any_version() -> None:
    for step in STEPS:
        for name in modules_of(step):
            text = skeleton(ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8")))
            assert text.isascii() and hashlib.sha256(text.encode()).hexdigest()

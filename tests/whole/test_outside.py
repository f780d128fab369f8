"""What comes from outside is refused in one sentence, at once and without harm: data, configurations, models, mirrors, archives and runs.

A row is a name and a `Case` (see `helpers/refused.py`). Add a row for any input that should be refused and is not.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.received import (
    BILLION,
    MERGED,
    PASSAGES,
    QUESTIONS,
    Change,
    Prepare,
    archived,
    asked,
    changed,
    claims,
    data,
    header,
    in_place_of,
    jsonl,
    link,
    listed_too,
    mirror,
    model,
    overlay,
    passage,
    received,
    socket,
    sparse,
    tar,
    write_record,
)
from helpers.refused import SECONDS, Case, called, refused

CORPUS, ASKED = jsonl(PASSAGES), jsonl(QUESTIONS)
ONCE = "each key once"
PLAIN = "the files themselves"
FORGED = "take the mirror from where it was filled"
MADE_BY = "cardproof archive"
AGAIN = "run the workflow again"

DATA: dict[str, Case] = {
    # one value for a name
    "a key twice in a question": Case(
        data(questions=ASKED.replace(b'"answer": "Twice."', b'"answer": "Never.", "answer": "Twice."')),
        ("qa.jsonl, line 1", "'answer' is given twice"),
        ONCE,
    ),
    "a key twice in a passage, once as an escape": Case(
        data(CORPUS.replace(b'"title": "Fines"', b'"title": "Fines", "t\\u0069tle": "Other"')),
        ("corpus.jsonl, line 2", "'title' is given twice"),
        ONCE,
    ),
    "an id twice": Case(data(jsonl(changed(PASSAGES, 2, id="D1-c1-s1"))), ("'D1-c1-s1'", "passage 1", "passage 3"), "unique"),
    # ids
    "an id of 65 bits": Case(asked(id=2**63), ("qa.jsonl, line 1", "'id'", "9223372036854775808")),
    "a negative id of 65 bits": Case(asked(id=-(2**63) - 1), ("qa.jsonl, line 1", "'id'", "-9223372036854775809")),
    "an id of 65 bits as text": Case(asked(id="99999999999999999999"), ("qa.jsonl, line 1", "'id'", "99999999999999999999")),
    "an id of 65 bits as a real number": Case(asked(id=1e30), ("qa.jsonl, line 1", "'id'")),
    "an id without end": Case(
        data(questions=ASKED.replace(b'"id": 1', b'"id": ' + b"9" * 5000)), ("qa.jsonl, line 1", "number out of range")
    ),
    "ids alike after NFC": Case(passage("Caf\u00e9-1", "Cafe\u0301-1"), ("'Caf\\xe9-1'", "passage 1", "passage 2"), ""),
    "ids alike after NFKC": Case(passage("\ufb01-1", "fi-1"), ("'\\ufb01-1'", "'fi-1'", "Unicode normalisation"), "own id"),
    "ids alike but for a blank": Case(passage("s 1", "s\u00a01"), ("'s 1'", "'s\\xa01'", "the same"), "own id"),
    "an id with a bell": Case(passage("D\x07"), ("passage 1", "U+0007"), "another id"),
    "an id with an escape": Case(passage("D\x1b[31m"), ("passage 1", "field 'id'"), "another id"),
    "an id with a zero-width space": Case(passage("D\u200b1"), ("passage 1", "U+200B"), "another id"),
    "an id that turns the direction of writing": Case(passage("D\u202e1"), ("passage 1", "U+202E"), "another id"),
    "an id that ends in a joiner": Case(passage("D1\u200d"), ("passage 1", "U+200D"), "another id"),
    "an id with a line break": Case(passage("D\n1"), ("passage 1", "line break"), "another id"),
    "an id with a blank at its end": Case(passage("D1 "), ("passage 1", "space at one end"), "another id"),
    "an id with a no-break space at its end": Case(passage("D1\u00a0"), ("passage 1", "space at one end"), "another id"),
    "a gold passage that differs in case": Case(
        asked(relevant_passage_id="d1-c1-s1"), ("question 1", "'d1-c1-s1' is not in"), "'D1-c1-s1'?"
    ),
    # JSON that is none
    "NaN": Case(data(CORPUS.replace(b"null", b"NaN", 1)), ("corpus.jsonl, line 1", "'footnotes'", "nan")),
    "infinity for an id": Case(data(questions=ASKED.replace(b'"id": 1', b'"id": Infinity')), ("qa.jsonl, line 1", "'id'")),
    "a number beyond all": Case(data(questions=ASKED.replace(b'"id": 1', b'"id": 1e999')), ("qa.jsonl, line 1", "'id'")),
    "half a character": Case(data(CORPUS.replace(b"Fines", b"\\ud800")), ("corpus.jsonl, line 2", "not valid JSON")),
    "nested without end": Case(data(b"[" * 200_000), ("corpus.jsonl, line 1", "recursion")),
    "a trailing comma": Case(data(CORPUS.replace(b"null}", b"null,}", 1)), ("corpus.jsonl, line 1", "not valid JSON"), "cut"),
    "rows in one list": Case(data(json.dumps(PASSAGES).encode()), ("corpus.jsonl, line 1", "object"), "Passage"),
    "a text for a row": Case(data(b'"row"\n'), ("corpus.jsonl, line 1", "found 'row'"), "Passage"),
    "null for a row": Case(data(b"null\n"), ("corpus.jsonl, line 1", "found None"), "Passage"),
    # another encoding, another format
    "a byte order mark": Case(data(b"\xef\xbb\xbf" + CORPUS), ("corpus.jsonl, line 1", "byte order mark"), "without BOM"),
    "UTF-16": Case(data(CORPUS.decode().encode("utf-16")), ("corpus.jsonl, line 1", "not valid UTF-8"), "UTF-8"),
    "Latin-1": Case(data(CORPUS.replace(b"Fines", "Fin\u00e9s".encode("latin-1"))), ("line 2", "not valid UTF-8"), "UTF-8"),
    "Parquet": Case(data(b"PAR1\x15\x04\x15"), ("corpus.jsonl, line 1", "a Parquet file"), "one JSON object a line"),
    "gzip": Case(data(b"\x1f\x8b\x08\x00abc"), ("corpus.jsonl, line 1", "a gzip file"), "unpack"),
    "zip": Case(data(b"PK\x03\x04abc"), ("corpus.jsonl, line 1", "a zip file"), "unpack"),
    "CSV": Case(data(b"id,title,text\nD1,Loans,A loan\n"), ("corpus.jsonl, line 1", "not valid JSON")),
    "lines that end in carriage returns alone": Case(data(questions=ASKED.replace(b"\n", b"\r")), ("qa.jsonl, line 1", "not valid JSON")),
    # fields
    "null for a title": Case(data(jsonl(changed(PASSAGES, 0, title=None))), ("corpus.jsonl, line 1", "'title'", "None")),
    "null for a question": Case(asked(question=None), ("qa.jsonl, line 1", "'question'", "None")),
    "an empty list of gold passages": Case(asked(relevant_passage_id=[]), ("qa.jsonl, line 1", "'relevant_passage_id'")),
    "a list of what is no gold passage": Case(asked(relevant_passage_id=["D1-c1-s1", 7]), ("qa.jsonl, line 1",)),
    "a gold passage twice": Case(asked(relevant_passage_id=["D1-c1-s1", "D1-c1-s1"]), ("question 1", "named twice"), "once"),
    "a second gold passage that is missing": Case(asked(relevant_passage_id=["D1-c1-s1", "D9"]), ("question 1", "'D9' is not in"), ""),
    "an id of ten thousand characters": Case(asked(id="q" * 10_000), ("qa.jsonl", "'id'", "10000 characters"), "at most 200"),
    "an id of blanks": Case(asked(id="  "), ("qa.jsonl, line 1", "'id'")),
    "an answer of marks": Case(asked(answer="-"), ("question 1", "'answer'", "no letter or digit"), "word by word"),
    "a question of blanks": Case(asked(question=" \u00a0 "), ("question 1", "'question' is blank"), "leave the row out"),
    "only blank lines": Case(data(b"\n \n\n"), ("corpus.jsonl has no passage",), "empty"),
    # what is no file
    "a line of 70 MB": Case(data(change=in_place_of("corpus.jsonl", sparse(70_000_000))), ("corpus.jsonl, line 1", "64,000,000"), "a line"),
    "a file of holes": Case(data(change=in_place_of("corpus.jsonl", sparse(1_500_000_000))), ("corpus.jsonl", "almost none"), "the file"),
    "a terabyte": Case(data(change=in_place_of("corpus.jsonl", sparse(10**12))), ("corpus.jsonl", "1,000,000,000,000 bytes"), "smaller"),
    "a folder for the questions": Case(data(change=in_place_of("qa.jsonl", Path.mkdir)), ("qa.jsonl", "Is a directory"), "path"),
    "a pipe for the questions": Case(data(change=in_place_of("qa.jsonl", os.mkfifo)), ("qa.jsonl is a named pipe",), "a file"),
    "a pipe for the corpus by another name": Case(
        data(change=lambda d: ((d / "corpus.jsonl").unlink(), os.mkfifo(d / "corpus-x.jsonl"))),
        ("corpus-x.jsonl is a named pipe",),
        "a file",
    ),
    "a device for the corpus": Case(data(change=in_place_of("corpus.jsonl", link("/dev/zero"))), ("corpus.jsonl is a device",), "a file"),
    "a socket for the corpus": Case(data(change=in_place_of("corpus.jsonl", socket)), ("corpus.jsonl",), ""),
    "a link that leads to itself": Case(
        data(change=in_place_of("qa.jsonl", link("qa.jsonl"))), ("qa.jsonl", "Too many levels of symbolic links"), "path"
    ),
    "two corpora": Case(
        data(change=lambda d: [(d / "corpus.jsonl").rename(d / "corpus-a.jsonl"), (d / "corpus-b.jsonl").write_text("")]),
        ("2 files",),
        "corpus",
    ),
}

CONFIGURATIONS: dict[str, Case] = {
    "aliases of aliases": Case(overlay(BILLION), ("mine.yaml", "100,000 values"), "aliases"),
    "merge keys of merge keys": Case(overlay(MERGED), ("mine.yaml", "100,000 values"), "aliases"),
    "a mapping that contains itself": Case(
        overlay("sampling: &a {rows: *a}"), ("mine.yaml", "'&a' contains itself"), "write the value out"
    ),
    "a list that contains itself": Case(overlay("seed: &a [*a]"), ("seed", "found [[...]]")),
    "mappings without end": Case(overlay("a: " * 5000), ("mine.yaml",), ""),
    "lists without end": Case(overlay("seed: " + "[" * 5000), ("mine.yaml", "nested too deeply"), "key: value"),
    "a number of 5,000 digits": Case(overlay("seed: " + "9" * 5000), ("mine.yaml", "value cannot be read"), "quotes"),
    "a number of 5,000 hexadecimal digits": Case(overlay("seed: 0x" + "f" * 5000), ("seed",), ""),
    "a date that does not exist": Case(overlay("run: 2026-99-99"), ("mine.yaml", "value cannot be read"), "quotes"),
    "a date for a name": Case(overlay("run: 2026-01-01"), ("run", "datetime"), ""),
    "a tag that promises a number": Case(overlay("seed: !!int x"), ("mine.yaml", "value cannot be read"), "quotes"),
    "a tag that promises a time": Case(overlay("seed: !!timestamp x"), ("mine.yaml",), ""),
    "a tag that calls Python": Case(overlay("seed: !!python/object/apply:os.system [x]"), ("mine.yaml, line 1", "tag")),
    "a key twice in two spellings": Case(overlay("16: a\n0x10: b"), ("mine.yaml, line 2", "'0x10' is given twice"), "once"),
    "two megabytes": Case(overlay("# " + "x" * 2_000_000), ("mine.yaml has 2,000,002 bytes",), "smaller"),
    "100,000 values": Case(overlay("seed: [" + "0, " * 100_000 + "0]"), ("mine.yaml", "100,000 values"), ""),
    "a claim of 100,000 digits": Case(claims("9" * 100_000), ("claims.yaml", "training.examples"), "as printed"),
    "a claim of 100,000 decimals": Case(claims("0." + "1" * 100_000), ("claims.yaml", "training.examples"), "as printed"),
    "a claim with an exponent": Case(claims("1e999999999"), ("claims.yaml", "training.examples"), "as printed"),
    "a zero byte": Case(overlay(b"run: a\0b"), ("mine.yaml", "not valid YAML"), ""),
    "a pipe": Case(overlay(os.mkfifo), ("mine.yaml is a named pipe",), "a file"),
    "a device": Case(overlay(link("/dev/zero")), ("mine.yaml is a device",), "a file"),
    "a name that clears the screen": Case(overlay('"\\e[2Jx": 1'), ("unknown key '\\x1b[2Jx'",), ""),
    "a hub id that leads upwards": Case(mirror(name="../../x"), ("'../../x' in the place",), "mirror"),
}

MODELS: dict[str, Case] = {
    "code for an architecture of its own": Case(
        model(config__json='{"model_type": "mine", "auto_map": {"AutoModel": "mine.M"}}'),
        ("config.json", "'auto_map'", "never run"),
        "transformers",
    ),
    "code beside a known type that generates no text": Case(
        model(config__json='{"model_type": "vit", "auto_map": {"AutoModelForCausalLM": "mine.M"}}'),
        ("config.json", "'auto_map'"),
        "transformers",
    ),
    "code for a tokenizer": Case(
        model(tokenizer_config__json='{"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.T", null]}}'),
        ("tokenizer_config.json", "'auto_map'", "'Mine'", "never run"),
        "tokenizer",
    ),
    "a key twice in the configuration": Case(
        model(config__json='{"model_type": "llama",\n "hidden_size": 8,\n "hidden_size": 16}'),
        ("config.json, line 3", "'hidden_size'"),
        ONCE,
    ),
    "a configuration of 5,000 digits": Case(model(config__json='{"hidden_size": ' + "9" * 5000 + "}"), ("config.json", "5,000 digits"), ""),
    "a configuration without end": Case(model(config__json='{"a": ' + "[" * 900 + "]" * 900 + "}"), ("config.json", "nested"), ""),
    "a configuration with half a character": Case(model(config__json='{"a": "\\ud800"}'), ("config.json", "half of a character"), ""),
    "a configuration with NaN": Case(model(config__json='{"a": NaN}'), ("config.json", "NaN"), ""),
    "weights pickled": Case(
        model(in_place_of("model.safetensors", lambda p: p.with_name("pytorch_model.bin").touch())), ("no *.safetensors",), ""
    ),
    "a tokenizer of half a gigabyte": Case(
        model(in_place_of("tokenizer.json", sparse(500_000_000))), ("tokenizer.json", "500,000,000 bytes"), ""
    ),
    "weights of holes": Case(model(in_place_of("model-2.safetensors", sparse(10**11))), ("model-2.safetensors", "almost none"), ""),
    "a configuration that is a pipe": Case(model(in_place_of("config.json", os.mkfifo)), ("config.json is a named pipe",), "model"),
    "a vocabulary that is a device": Case(model(in_place_of("vocab.json", link("/dev/zero"))), ("vocab.json is a link",), "copy it"),
    "a vocabulary that is a secret": Case(
        model(in_place_of("vocab.txt", link("/etc/passwd"))), ("vocab.txt is a link that leads out",), "copy it"
    ),
    "weights that are a secret": Case(
        model(in_place_of("model.safetensors", link("/etc/passwd"))), ("model.safetensors is a link that leads out",), "copy it"
    ),
    "a file that is a folder": Case(model(lambda m: (m / "x.json").mkdir()), ("x.json is a folder",), "model"),
    "a link to nothing": Case(model(in_place_of("x.json", link("gone"))), ("x.json is a link to a file that does not exist",), "again"),
}

MIRRORS: dict[str, Case] = {
    "a path that leads upwards": Case(mirror(listed=listed_too("../../../../precious")), ("'../../../../precious' lies outside",), FORGED),
    "an absolute path": Case(mirror(listed=listed_too("/etc/hostname.json")), ("'/etc/hostname.json' lies outside",), FORGED),
    "a path with a backslash": Case(mirror(listed=listed_too("..\\x.json")), ("lies outside",), FORGED),
    "a path with a zero byte": Case(mirror(listed=listed_too("a\0.json")), ("control character",), FORGED),
    "a path of 2,000 letters": Case(mirror(listed=listed_too("a" * 2000 + ".json")), ("longer than a path may be",), FORGED),
    "an empty path": Case(mirror(listed=listed_too("")), ("'' is not the name of a file",), FORGED),
    "a path that is a number": Case(mirror(listed=listed_too(7)), ("files.json", "path", "found 7"), FORGED),
    "two names that differ in case": Case(mirror(listed=listed_too("CONFIG.json")), ("'CONFIG.json' appears twice",), FORGED),
    "a link": Case(mirror(in_place_of("a.json", link("../../../../precious")), listed_too("a.json")), ("'a.json' is a link",), FORGED),
    "a link to a folder": Case(
        mirror(lambda p: (p / "sub").symlink_to("/etc"), listed_too("sub/a.json")),
        ("'sub/a.json' lies behind 'sub', which is a link",),
        FORGED,
    ),
    "a pipe": Case(mirror(in_place_of("a.json", os.mkfifo), listed_too("a.json")), ("'a.json' is a named pipe",), FORGED),
    "a device": Case(mirror(in_place_of("a.json", link("/dev/zero")), listed_too("a.json")), ("'a.json' is a link",), FORGED),
    "a file without a hash": Case(mirror(listed=listed_too("a.json", sha256=None)), ("'a.json' has no hash",), FORGED),
    "a hash that is none": Case(mirror(listed=listed_too("a.json", sha256="x")), ("files.json", "sha256"), FORGED),
    "code": Case(mirror(listed=listed_too("modeling.py")), ("'modeling.py' is not weights",), FORGED),
    "pickled weights": Case(mirror(listed=listed_too("pytorch_model.bin")), ("'pytorch_model.bin' is not weights",), FORGED),
    "a file that is not there": Case(mirror(listed=listed_too("a.json")), ("a.json is in files.json, but not there",), FORGED),
    "another content": Case(mirror(lambda p: (p / "config.json").write_text("{}")), ("config.json has the hash",), FORGED),
    "no files": Case(mirror(listed=lambda found: {**found, "files": []}), ("files.json", "files"), FORGED),
    "a list of files for the list": Case(mirror(listed=lambda found: found["files"]), ("files.json",), FORGED),
    "a key twice in the list": Case(
        mirror(listed=lambda found: b'{"kind": "model",\n"kind": "dataset"}'), ("files.json, line 2", "'kind' is given twice"), ONCE
    ),
    "a key too many": Case(mirror(listed=lambda found: {**found, "postinstall": "x"}), ("files.json", "'postinstall'"), "known"),
    "another revision": Case(mirror(revision="b" * 40), ("at revision bbb",), "mirror"),
    "another model": Case(mirror(name="team/other"), ("'team/other' in the place",), "mirror"),
    "a list that is a link": Case(
        mirror(lambda p: [(p / "files.json").rename(p / "x"), (p / "files.json").symlink_to("x")]), ("is a link",), FORGED
    ),
    "a list that is a pipe": Case(mirror(in_place_of("files.json", os.mkfifo)), ("is a named pipe",), FORGED),
}

SAMPLE = ("samples/base/clean.jsonl", b"{}")
ARCHIVES: dict[str, Case] = {
    "a path that leads upwards": Case(archived(tar(("samples/../../x", b"x"))), ("'samples/../../x' lies outside the run",), MADE_BY),
    "an absolute path": Case(archived(tar(("/etc/x", b"x"))), ("'/etc/x' lies outside the run",), MADE_BY),
    "a path with a backslash": Case(archived(tar(("samples\\..\\x", b"x"))), ("lies outside the run",), MADE_BY),
    "a path with a line break": Case(archived(tar(("samples/a\nb", b"x"))), ("'samples/a\\nb'", "control character"), MADE_BY),
    "a path that moves the cursor": Case(archived(tar(("samples/\x1b[2J", b"x"))), ("control character",), MADE_BY),
    "a path of 300 letters": Case(archived(tar(("samples/" + "a" * 300, b"x"))), ("longer than a path may be",), MADE_BY),
    "a path through the same folder": Case(archived(tar(("./samples/x", b"x"))), ("is not a plain path",), MADE_BY),
    "a link": Case(
        archived(tar(header("samples/x", tarfile.SYMTYPE, linkname="/etc/passwd"))), ("'samples/x' is not a plain file",), MADE_BY
    ),
    "a hard link": Case(
        archived(tar(SAMPLE, header("samples/x", tarfile.LNKTYPE, linkname="samples/base/clean.jsonl"))), ("not a plain file",), MADE_BY
    ),
    "a pipe": Case(archived(tar(header("samples/x", tarfile.FIFOTYPE))), ("'samples/x' is not a plain file",), MADE_BY),
    "a device": Case(archived(tar(header("samples/x", tarfile.CHRTYPE, devmajor=1, devminor=5))), ("not a plain file",), MADE_BY),
    "a folder": Case(archived(tar(header("samples", tarfile.DIRTYPE))), ("'samples' is not a plain file",), MADE_BY),
    "a file twice": Case(archived(tar(SAMPLE, SAMPLE)), ("appears twice",), MADE_BY),
    "names that differ in case": Case(archived(tar(("samples/A", b"1"), ("samples/a", b"2"))), ("upper and lower case",), MADE_BY),
    "names that differ in their Unicode form": Case(
        archived(tar(("samples/\u00e9", b"1"), ("samples/e\u0301", b"2"))), ("appears twice",), MADE_BY
    ),
    "a file that is a folder too": Case(archived(tar(("samples/x", b"1"), ("samples/x/y", b"2"))), ("both a file and a folder",), MADE_BY),
    "a sparse file": Case(
        archived(tar(header("samples/x", tarfile.REGTYPE, pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}))),
        ("header",),
        MADE_BY,
    ),
    "a file larger than memory": Case(
        archived(tar(header("samples/x", tarfile.REGTYPE, size=10**12))), ("'samples/x' claims 1,000,000,000,000 bytes",), MADE_BY
    ),
    "a header of three megabytes": Case(
        archived(tar(header("samples/x", tarfile.REGTYPE, pax_headers={"comment": "x" * 3_000_000}))), ("a header of more than",), MADE_BY
    ),
    "a result without a record": Case(archived(tar(SAMPLE)), ("samples/base/clean.jsonl has no record",), "changed"),
    "a record with a key twice": Case(
        archived(tar(("provenance/files/x.json", b'{"file": "x", "file": "y"}'))), ("x.json is not a record",), "changed"
    ),
    "a record without end": Case(archived(tar(("provenance/files/x.json", b"[" * 100_000))), ("x.json is not a record",), "changed"),
    "an archive that is a pipe": Case(
        lambda folder: [os.mkfifo(folder / "x"), ["replay", "--archive", "x", "--run", "out"]][1], ("x is a named pipe",), "file"
    ),
    "an archive that is a device": Case(
        lambda folder: ["replay", "--archive", "/dev/zero", "--run", "out"], ("/dev/zero is a device",), "file"
    ),
    "an archive that is another file": Case(
        lambda folder: [(folder / "x").write_text("x" * 100), ["replay", "--archive", "x", "--run", "out"]][1],
        ("not a whole archive",),
        MADE_BY,
    ),
}


def record(name: str, **fields: object) -> Change:
    return lambda run: write_record(run, name, **fields)


def moved_behind_a_link(name: str) -> Change:
    return lambda run: ((run / name).rename(run / "../moved"), (run / name).symlink_to("../moved"))


def verify(change: Change, *more: str) -> Prepare:
    return received(change, "verify", "run", *more)


def archive(change: Change) -> Prepare:
    return received(change, "archive", "run", "--out", "x.tar.zst")


def copied_record(path: Path) -> None:
    path.write_bytes((path.parent / "claims.json.json").read_bytes())


SECRET, ZERO = link("../../secret"), link("/dev/zero")
AXES, RECORDS = "evaluation/axes.json", "provenance/files"
RUNS: dict[str, Case] = {
    # verify: 4 says that the chain is broken, 2 that there is nothing to check
    "verify: a result that is a link": Case(verify(in_place_of(AXES, SECRET)), (f"{AXES} is a link",), AGAIN, 4),
    "verify: a result that is a device": Case(verify(in_place_of(AXES, ZERO)), (f"{AXES} is a link",), AGAIN, 4),
    "verify: a result that is a pipe": Case(verify(in_place_of(AXES, os.mkfifo)), (f"{AXES} is a named pipe",), AGAIN, 4),
    "verify: a result that is a socket": Case(verify(in_place_of(AXES, socket)), (f"{AXES} is a socket",), AGAIN, 4),
    "verify: a folder that is a link": Case(verify(moved_behind_a_link("evaluation")), ("evaluation is a link",), AGAIN, 4),
    "verify: records behind a link": Case(verify(moved_behind_a_link("provenance")), ("provenance is a link",), AGAIN, 4),
    "verify: a log that is a device": Case(verify(in_place_of("logs/x.log", ZERO)), ("logs/x.log is a link",), AGAIN, 4),
    "verify: a store that is a pipe": Case(verify(in_place_of("store/x.jsonl", os.mkfifo)), ("named pipe",), AGAIN, 4),
    "verify: a configuration that is a link": Case(
        verify(in_place_of("config.yaml", link("../secret"))), ("config.yaml is a link",), AGAIN, 4
    ),
    "verify: a configuration that is a pipe": Case(
        verify(in_place_of("config.yaml", os.mkfifo)), ("config.yaml is a named pipe",), AGAIN, 4
    ),
    "verify: a configuration of aliases": Case(
        verify(lambda run: (run / "config.yaml").write_text(BILLION)), ("config.yaml", "100,000 values"), AGAIN, 4
    ),
    "verify: a result of holes": Case(verify(in_place_of(AXES, sparse(10**11))), ("almost none",), "the file"),
    "verify: an input outside": Case(
        verify(record("claims.json", inputs={"../secret": "0"})), ("'../secret'", "not a path below"), AGAIN, 4
    ),
    "verify: an absolute input": Case(
        verify(record("claims.json", inputs={"/etc/passwd": "0"})), ("'/etc/passwd'", "not a path below"), AGAIN, 4
    ),
    "verify: an input outside the checkout": Case(
        verify(record("claims.json", inputs={"project:../../etc/passwd": "0"})), ("'project:../../etc/passwd'",), AGAIN, 4
    ),
    "verify: an input that moves the cursor": Case(
        verify(record("claims.json", inputs={"\x1b[2J": "0"})), ("'\\x1b[2J'", "not a path below"), AGAIN, 4
    ),
    "verify: a step with the settings of no condition": Case(
        verify(record("claims.json", step="prompts", wildcards={"condition": "clean.n"}, config={"seed": 0})),
        ("claims.json was made with a setting",),
        AGAIN,
        4,
    ),
    "verify: a record that is a link": Case(
        verify(in_place_of(f"{RECORDS}/x.json", link("../../../secret"))), (f"{RECORDS}/x.json is a link",), AGAIN, 4
    ),
    "verify: a record of another file": Case(
        verify(in_place_of(f"{RECORDS}/x.json", copied_record)), ("the record of claims.json",), AGAIN, 4
    ),
    "verify: a record with a key twice": Case(
        verify(in_place_of(f"{RECORDS}/x.json", lambda p: p.write_text('{"file": "x", "file": "y"}'))),
        ("x.json is not a record",),
        AGAIN,
        4,
    ),
    "verify: a record without end": Case(
        verify(in_place_of(f"{RECORDS}/x.json", lambda p: p.write_text("[" * 100_000))), ("x.json is not a record",), AGAIN, 4
    ),
    "verify: results said to be left out": Case(
        verify(lambda run: [(run / "claims.json").unlink(), (run / "provenance/left_out.json").write_text('["claims.json"]')]),
        ("left_out.json is not a list of folders of weights",),
        AGAIN,
        4,
    ),
    "verify: a list of logs that names a secret": Case(
        verify(lambda run: (run / "provenance/logs.json").write_text('{"../secret": "0"}')), ("logs.json was changed",), AGAIN, 4
    ),
    "verify: a name with a line break": Case(
        verify(lambda run: (run / "evaluation/a\nb\x1b[2J.json").write_text("{}")), ("a\\nb\\x1b[2J.json has no record",), AGAIN, 4
    ),
    "verify: code in a folder of a model's links": Case(
        verify(in_place_of("models/base/modeling.py", link("../../../secret"))), ("models/base/modeling.py was added",), AGAIN, 4
    ),
    "verify: a signature that is none": Case(
        verify(in_place_of("provenance/chain.sig", lambda p: p.write_text("x")), "--signers", "secret"), ("chain.sig",), "", 4
    ),
    "verify: a signature that is a pipe": Case(
        verify(in_place_of("provenance/chain.sig", os.mkfifo), "--signers", "secret"), ("chain.sig is a named pipe",), AGAIN, 4
    ),
    "verify: no signature": Case(verify(lambda run: None, "--signers", "secret"), ("run has no signature",), "cardproof sign", 4),
    "verify: a name without signers": Case(
        verify(lambda run: None, "--identity", "me"), ("--identity needs --signers",), "allowed signers"
    ),
    # archive, publish, replay
    "archive: a link among the costs": Case(archive(in_place_of("cost/x.tsv", SECRET)), ("cost/x.tsv is a link",), "cardproof verify"),
    "archive: a secret among the costs": Case(
        archive(in_place_of("cost/x.tsv", lambda p: os.link(p.parents[2] / "secret", p))), ("cost/x.tsv is not a table",), "remove it"
    ),
    "archive: a link among the results": Case(
        archive(in_place_of("figures/axes.svg", SECRET)), ("axes.svg is a link",), "cardproof verify"
    ),
    "archive: a folder that is a link": Case(
        archive(lambda run: (run / "cost/sub").symlink_to("/etc")), ("cost/sub is a link",), "cardproof verify"
    ),
    "archive: a file that nobody recorded": Case(
        archive(lambda run: (run / "notes.txt").write_text("x")), ("notes.txt has no record",), "cardproof verify"
    ),
    "publish: a link": Case(
        received(in_place_of("figures/axes.svg", SECRET), "publish", "run", "--to", "a/b"),
        ("Not to be published", "axes.svg is a link"),
        AGAIN,
    ),
    "replay: a run with a link": Case(
        received(in_place_of("samples/base/x.jsonl", link("../../../secret")), "replay", "--archive", "run", "--run", "out"),
        ("'samples/base/x.jsonl' is a link",),
        MADE_BY,
    ),
    "sign: a run that is not whole": Case(
        received(in_place_of(AXES, SECRET), "sign", "run", "--key", "secret"), (f"{AXES} is a link",), AGAIN
    ),
    "sign: no key": Case(received(lambda run: None, "sign", "run", "--key", "gone"), ("gone does not exist",), "ssh-keygen"),
    "sign: a key that is none": Case(received(lambda run: None, "sign", "run", "--key", "secret"), ("secret cannot sign",), "private key"),
    # steps on a received run: nothing is read or written through a link in it
    "evaluate: scores that are a link": Case(
        received(
            in_place_of("scores/base/clean.parquet", ZERO),
            *("evaluate", "--config", "run/config.yaml", "--scores", "run/scores", "--prompts", "run/prompts", "--out", "run/evaluation"),
        ),
        ("'scores/base/clean.parquet' is a link",),
        PLAIN,
    ),
    "claims: a result that is a link": Case(
        received(in_place_of(AXES, SECRET), "claims", "--run", "run", "--out", "run/claims.json"), (f"'{AXES}' is a link",), PLAIN
    ),
    "card: into a folder that is a link": Case(
        received(moved_behind_a_link("card"), "card", "--run", "run", "--out", "run/card/README.md"),
        ("lies behind 'card', which is a link",),
        PLAIN,
    ),
    "sample: into a store that is a link": Case(
        received(
            lambda run: (run / "store").symlink_to(".."),
            *("sample", "--config", "run/config.yaml", "--arm", "base", "--model", "run/models/base", "--store", "run/store/x.jsonl"),
            *("--work", "run/prompts/clean.jsonl", "run/shards/x.jsonl"),
        ),
        ("'store/x.jsonl' lies behind 'store', which is a link",),
        PLAIN,
    ),
    "score: samples that are a pipe": Case(
        received(
            in_place_of("samples/base/clean.jsonl", os.mkfifo),
            *("score", "--config", "run/config.yaml", "--prompts", "run/prompts/clean.jsonl", "--samples", "run/samples/base/clean.jsonl"),
            *("--support", "run/samples/base/clean.jsonl", "--out", "run/scores/base/clean.parquet"),
        ),
        ("'samples/base/clean.jsonl' is a named pipe",),
        PLAIN,
    ),
}

TABLES = {
    "data": DATA,
    "configuration": CONFIGURATIONS,
    "model": MODELS,
    "mirror": MIRRORS,
    "archive": ARCHIVES,
    "run": RUNS,
}
CASES = {f"{table}: {name}": case for table, cases in TABLES.items() for name, case in cases.items()}


@pytest.mark.parametrize("name", CASES)
def test_what_comes_from_outside_is_refused_in_one_sentence(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    monkeypatch.setenv("CARDPROOF_MIRROR", "mirror")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if "sign" in name and shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed (Debian: openssh-client)")
    if name.startswith("model: code"):
        import transformers.models.auto.modeling_auto  # noqa: F401  # its import alone takes seconds on a busy machine
    seconds = refused(CASES[name], tmp_path, monkeypatch, capsys)
    record_property("inputs from outside, each refused in one sentence", 1)
    assert seconds < SECONDS


def test_a_folder_of_cards_is_read_past_pipes_and_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards/card.md").write_text("# A card\n\nAccuracy 0.9.\n")
    os.mkfifo(tmp_path / "cards/pipe.md")
    (tmp_path / "cards/zero.md").symlink_to("/dev/zero")
    monkeypatch.chdir(tmp_path)
    assert called(["audit", "cards", "--out", "found.jsonl"], monkeypatch) == 0
    assert "pipe.md" not in (tmp_path / "found.jsonl").read_text()


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 120

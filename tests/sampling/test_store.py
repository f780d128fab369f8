"""The rollout store."""

from __future__ import annotations

from pathlib import Path

from cardproof.sampling.store import Store


def test_the_store_keeps_only_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "store.jsonl"
    store = Store(path)
    for name in "abc":
        store.add(name, [])
    store.close()
    # The second line is changed and the last one incomplete; the other lines stay.
    a, b, c = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(a + b.replace(b'"b"', b'"x"') + c + a[: len(a) // 2])
    store = Store(path)
    assert list(store.items) == ["a", "c"]
    store.add("d", [])
    store.close()
    assert list(Store(path).items) == ["a", "c", "d"]

"""Where a benchmark comes from: each of the three sources gives passages and questions, of which a seed draws at most so many."""

from __future__ import annotations

from pathlib import Path

import pytest

from cardproof.acquire import hub
from cardproof.benchmark.acquire_benchmark import acquire_benchmark
from cardproof.benchmark.embedded import load_embedded
from cardproof.benchmark.folder import write
from cardproof.config.settings import Benchmark
from cardproof.errors import CardproofError
from cardproof.files import sha256_file, write_json
from cardproof.records import Passage, Question

COMMIT = "a" * 40
PASSAGES = [Passage(id=f"p{i}", title="", text=f"Text {i}.") for i in range(9)]
QUESTIONS = [Question(id=i, question=f"Q{i}?", answer="A.", relevant_passage_id=f"p{i}") for i in range(9)]


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A benchmark in a local folder."""
    write(PASSAGES, QUESTIONS, tmp_path / "local" / "corpus.jsonl", tmp_path / "local" / "qa.jsonl")
    return tmp_path / "local"


def test_a_folder_is_read_whole_and_pins_are_checked(local: Path, tmp_path: Path) -> None:
    settings = Benchmark(source="folder", path=str(local), sha256={"qa.jsonl": sha256_file(local / "qa.jsonl")})
    assert acquire_benchmark(settings, 0, tmp_path / "scratch") == (PASSAGES, QUESTIONS)
    with pytest.raises(CardproofError, match="is not the pinned file"):
        acquire_benchmark(settings.model_copy(update={"sha256": {"qa.jsonl": "0" * 64}}), 0, tmp_path / "scratch")


def test_the_hub_is_answered_by_a_mirror(local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(hub.MIRROR, str(tmp_path / "mirror"))
    place = hub.place(tmp_path / "mirror", "team/bench", "dataset")
    for part, file in (("corpus", "corpus.jsonl"), ("qa", "qa.jsonl")):  # in folders of their own, as on the hub
        (place / part).mkdir(parents=True)
        (local / file).rename(place / part / file)
    files = [hub.RemoteFile(str(p.relative_to(place)), p.stat().st_size, sha256_file(p), None) for p in sorted(place.rglob("*.jsonl"))]
    write_json(place / hub.LISTING, hub.entry(hub.Repository("dataset", "team/bench", COMMIT, True, files)))
    settings = Benchmark(source="hub", id="team/bench", revision=COMMIT, sha256={"qa.jsonl": None, "corpus.jsonl": None})
    assert acquire_benchmark(settings, 0, tmp_path / "scratch") == (PASSAGES, QUESTIONS)
    assert not (tmp_path / "scratch").exists()
    with pytest.raises(CardproofError, match=r"has no questions\.jsonl"):
        acquire_benchmark(settings.model_copy(update={"sha256": {"questions.jsonl": "0" * 64}}), 0, tmp_path / "scratch")


def test_the_embedded_benchmark_needs_no_path(tmp_path: Path) -> None:
    assert acquire_benchmark(Benchmark(source="embedded"), 0, tmp_path) == load_embedded()


def test_a_seed_draws_the_questions_and_a_larger_draw_holds_the_smaller(local: Path, tmp_path: Path) -> None:
    def draw(most: int, seed: int) -> list[int]:
        settings = Benchmark(source="folder", path=str(local), sha256={}, max_questions=most)
        passages, questions = acquire_benchmark(settings, seed, tmp_path)
        assert passages == PASSAGES
        return [q.id for q in questions]

    assert len(draw(4, 0)) == 4
    assert draw(4, 0) == sorted(draw(4, 0))
    assert set(draw(4, 0)) < set(draw(6, 0))
    assert len({tuple(draw(4, seed)) for seed in range(5)}) > 1
    assert draw(20, 0) == list(range(9))

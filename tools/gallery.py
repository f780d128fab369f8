"""Render a made-up run at published scale, and figures of odd runs, into docs/examples/synthetic: `make gallery`.

The scores are drawn by the tests' own generator, so that every case is seen without a model. Every page and figure says that it is made up.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from PIL import Image

from cardproof.claims.audit import run_audit, to_json
from cardproof.claims.claims import judge
from cardproof.files import write_json, write_text
from cardproof.pages import card, figures, report
from helpers.synthetic_run import ARMS, Profile, record_all, write_run

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "examples" / "synthetic"
CLAIMS = ROOT / "published" / "claims.yaml"
DPI = 130
MANY = {f"lora-r{2**i}": ARMS["grounded"]._replace(strict=0.5 + i / 20) for i in range(3, 7)}
CASES: dict[str, tuple[str, dict[str, Profile]]] = {
    "as-published": ("Three arms, 50 items, eight rollouts each", ARMS),
    "many-arms": ("Seven arms", ARMS | MANY),
    "zero-gaps": ("No near miss at all", {arm: profile._replace(near_miss=0) for arm, profile in ARMS.items()}),
    "refusals": (
        "An arm that refuses all, and one that refuses most",
        ARMS | {"hybrid": ARMS["hybrid"]._replace(refusal=0.8), "grounded": ARMS["grounded"]._replace(refusal=1.0)},
    ),
}
"""Folder -> what it shows, and how its arms behave."""
TEXT = """# Gallery: made-up runs

**Everything here is synthetic.** The project's tests drew the scores at random, to show what card, page and figures look like at the
published scale and in odd cases. No model ran, and no number means anything. `make gallery` makes all of it again.

[Card](as-published/card/README.md) and [reviewer's page](as-published/report/index.html) (download it and open it in a browser) of the
first case."""
SHOWN = ("axes", "stress", "near_miss", "compute_curve", "published", "training_loss")


def main(out: Path = OUT, items: int = 50) -> None:
    """Write card, page and figures of the first case, and the figures of all."""
    figures.DPI = DPI
    shutil.rmtree(out, ignore_errors=True)
    lines = [TEXT]
    with tempfile.TemporaryDirectory() as name:
        for case, (title, arms) in CASES.items():
            folder = made(Path(name) / case, arms, items)
            kept = out / case
            for figure in SHOWN if case == "as-published" else SHOWN[:4]:
                (kept / "figures").mkdir(parents=True, exist_ok=True)
                with Image.open(folder / "figures" / f"{figure}.png") as image:
                    image.convert("RGB").quantize(64).save(kept / "figures" / f"{figure}.png", optimize=True)
            if case == "as-published":
                for part in ("card", "report"):
                    shutil.copytree(folder / part, kept / part)
            lines += ["", f"## {title} (synthetic)"]
            for figure in (f for f in SHOWN if (kept / f"figures/{f}.png").is_file()):
                lines += ["", f"![{figure.replace('_', ' ')}, synthetic]({case}/figures/{figure}.png)"]
    write_text(out / "README.md", "\n".join(lines) + "\n")


def made(folder: Path, arms: dict[str, Profile], items: int) -> Path:
    """A made-up run with everything rendered."""
    write_run(folder, scale="published", arms=arms, items=items, synthetic=True)
    write_json(folder / "audit.json", to_json(run_audit(CLAIMS, count_parameters=False)))
    write_json(folder / "claims.json", judge(folder, CLAIMS))
    figures.draw(folder, folder / "figures")
    record_all(folder)
    card.render(folder, ROOT / "report", folder / "card" / "README.md", CLAIMS)
    report.write(folder, folder / "report", ROOT / "report")
    return folder


if __name__ == "__main__":
    main()

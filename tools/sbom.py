"""Print the bill of materials of the environment that runs this, as CycloneDX JSON: its Python packages, and Debian's where there is dpkg.

The container definitions call it, so an image has its own list (sbom.cdx.json); tools/container.sh puts a copy beside the image.
cyclonedx-py lists the Python packages. It knows none of Debian's, so these are added, and the whole is checked against CycloneDX's schema.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parents[1]
DEBIAN = "${db:Status-Abbrev}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\n"


def python_packages() -> dict[str, Any]:
    """What cyclonedx-py says of this interpreter's environment; without times and random numbers."""
    command = [
        str(Path(sys.executable).with_name("cyclonedx-py")),
        "environment",
        sys.executable,
        "--pyproject",
        str(ROOT / "pyproject.toml"),
    ]
    done = subprocess.run([*command, "--sv", "1.6", "--of", "JSON", "--output-reproducible"], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def debian_component(line: str) -> dict[str, Any]:
    """A line of dpkg-query, in the format DEBIAN, as a component."""
    _, name, version, architecture, source = line.split("\t")
    purl = f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?arch={architecture}"
    origin = [{"name": "source", "value": source}]
    return {"bom-ref": purl, "type": "library", "name": name, "version": version, "purl": purl, "properties": origin}


def debian_packages() -> list[dict[str, Any]]:
    """The installed packages; none where this is no Debian."""
    if not shutil.which("dpkg-query"):
        return []
    listed = subprocess.run(["dpkg-query", "-W", "-f", DEBIAN], check=True, capture_output=True, text=True).stdout
    return [debian_component(line) for line in listed.splitlines() if line.startswith("ii")]


def main() -> None:
    """Print it; exit with a sentence where it breaks CycloneDX's schema."""
    bill = python_packages()
    bill["components"] += debian_packages()
    text = json.dumps(bill, indent=1, sort_keys=True)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"tools/sbom.py: the list is not CycloneDX 1.6: {error}")
    print(text)


if __name__ == "__main__":
    main()

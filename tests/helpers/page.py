"""What a reviewer's page holds as data."""

from __future__ import annotations

import json
import re
from pathlib import Path


def data_of(page: Path) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return json.loads(found[1])

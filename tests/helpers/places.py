"""Where tests find the checkout and, where they are, data that is not part of it."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROMPTS = ROOT / "prompts"
CLAIMS = ROOT / "published" / "claims.yaml"
SHARED = Path(os.environ.get("CARDPROOF_SHARED", ROOT.parent / "shared"))
"""Real data that may not be committed: tests that use it skip where it is absent."""

"""Where Chromium is, for the tests that look at pages in a real browser."""

from __future__ import annotations

import shutil

BROWSER = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)

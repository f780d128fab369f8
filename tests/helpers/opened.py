"""A page opened in a real browser, with all it said and asked for."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

SHOTS = os.environ.get("CARDPROOF_SHOTS")
"""Folder to keep screenshots in, to be looked at."""


class Opened:
    """A page with all it said and asked for."""

    def __init__(self, browser: Any, path: Path, hash: str = "", width: int = 1280, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.on("dialog", lambda d: (self.dialogs.append(d.message), d.dismiss()))
        self.page.goto(f"file://{path}{hash}")
        self.page.wait_for_selector("#item .panes, main table")

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def quiet(self) -> None:
        """No error in the console, and nothing asked for but files beside the page."""
        assert not self.errors
        assert not self.dialogs
        assert all(url.startswith("file://") for url in self.requests)

    def until(self, expression: str, seconds: float = 30) -> None:
        """Wait until a JavaScript expression holds; polled from outside, as the page's policy allows no script but its own."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, expression
            self.page.wait_for_timeout(20)

    def address(self) -> dict[str, str]:
        """What the address says is open."""
        return self.page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")

    def shoot(self, name: str) -> None:
        if SHOTS:
            self.page.screenshot(path=f"{SHOTS}/{name}.png")

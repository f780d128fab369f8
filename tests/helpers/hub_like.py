"""A card as the Hub shows it: Markdown by markdown-it, in a column of the Hub's width and with GitHub's spacing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WIDTH = 840
"""Pixels of the column that the Hub gives a card on a wide screen."""
STYLE = """
body { margin: 0; }
article { width: WIDTHpx; font: 16px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; overflow-wrap: break-word; }
p, ul, ol, table, pre, details, blockquote { margin: 0 0 16px; }
h1, h2, h3 { margin: 24px 0 16px; line-height: 1.25; }
h1, h2 { padding-bottom: .3em; border-bottom: 1px solid #ddd; }
h1 { font-size: 2em; } h2 { font-size: 1.5em; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: 6px 13px; border: 1px solid #ddd; }
pre { padding: 16px; font-size: 85%; line-height: 1.45; background: #f6f8fa; overflow-x: auto; }
code { font-family: monospace; font-size: 85%; } pre code { font-size: 100%; }
img { max-width: 100%; } ul { padding-left: 2em; } sub { font-size: 75%; line-height: 1.3; vertical-align: baseline; }
section.footnotes { font-size: 12px; }
"""


def page(card: str, folder: Path, plugins: tuple[Any, ...] = (), width: int = WIDTH) -> str:
    """The card's text as a page; `folder` is where its relative links start."""
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    for plugin in plugins:
        markdown.use(plugin)
    body = card.split("---\n", 2)[2] if card.startswith("---\n") else card
    style = STYLE.replace("WIDTH", str(width))
    base = f'<base href="{folder.resolve().as_uri()}/">'
    return f'<!doctype html><meta charset="utf-8">{base}<style>{style}</style><article>{markdown.render(body)}</article>'

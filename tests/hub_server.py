"""A hub on loopback: the part of the Hugging Face hub's file protocol that fetching uses, with the faults a network has.

Repositories are folders. Large files (safetensors) are announced with their sha256, others with their git blob's sha1, as the hub does.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse


@dataclass
class Hub:
    """What the server serves, and how it fails."""

    folders: dict[tuple[str, str], Path] = field(default_factory=dict)
    """(`models` or `datasets`, name) -> folder."""
    commit: str = "a" * 40
    announced: dict[str, str] = field(default_factory=dict)
    """Path in a repository -> sha256 to announce instead of the true one."""
    cut_after: dict[str, int] = field(default_factory=dict)
    """Path -> bytes after which the connection breaks, once."""
    fail: dict[str, list[int]] = field(default_factory=dict)
    """Part of a request's path -> statuses to answer with, one a request, until none is left."""
    token: str | None = None
    """Token without which every answer is 401."""
    sent: Counter[str] = field(default_factory=Counter)
    """Path -> bytes of content sent."""
    requests: list[str] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        """Answer with headers alone."""
        self.answer(body=False)

    def do_GET(self) -> None:
        """Answer with content."""
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        """Route a request: a repository's info, its tree, or a file."""
        path = unquote(urlparse(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        for part, statuses in self.hub.fail.items():
            if part in path and statuses:
                return self.refuse(statuses.pop(0))
        if self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self.refuse(401)
        if m := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            return self.info(m[1], m[2], m[3])
        if m := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/tree/([^/]+)/?", path):
            return self.tree(m[1], m[2], m[3])
        if m := re.fullmatch(r"/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.file(m[1] or "models", m[2], m[3], m[4], body)
        return self.refuse(404, "EntryNotFound")

    def repository(self, kind: str, name: str, revision: str | None) -> Path | None:
        """The folder asked for; None after a refusal."""
        folder = self.hub.folders.get((kind, name))
        if folder is None:
            self.refuse(404, "RepoNotFound")
        elif revision not in (None, "main", self.hub.commit):
            self.refuse(404, "RevisionNotFound")
        else:
            return folder
        return None

    def info(self, kind: str, name: str, revision: str | None) -> None:
        """A repository's newest commit."""
        if folder := self.repository(kind, name, revision):
            siblings = [{"rfilename": str(p.relative_to(folder))} for p in files(folder)]
            self.send(json.dumps({"id": name, "modelId": name, "sha": self.hub.commit, "siblings": siblings}).encode())

    def tree(self, kind: str, name: str, revision: str) -> None:
        """A repository's files with sizes and hashes."""
        if folder := self.repository(kind, name, revision):
            entries = []
            for path in files(folder):
                content = path.read_bytes()
                inside = str(path.relative_to(folder))
                found = {"type": "file", "path": inside, "size": len(content), "oid": blob(content)}
                if path.suffix == ".safetensors":
                    found["lfs"] = {"oid": self.sha256(inside, content), "size": len(content), "pointerSize": 134}
                entries.append(found)
            self.send(json.dumps(entries).encode())

    def file(self, kind: str, name: str, revision: str, inside: str, body: bool) -> None:
        """A file, or the rest of it; broken off where the hub is told to."""
        folder = self.repository(kind, name, revision)
        if folder is None:
            return None
        path = folder / inside
        if not path.is_file():
            return self.refuse(404, "EntryNotFound")
        content = path.read_bytes()
        start = int(m[1]) if (m := re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))) else 0
        etag = self.sha256(inside, content) if path.suffix == ".safetensors" else blob(content)
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", self.hub.commit)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if not body:
            return None
        rest = content[start:]
        cut = self.hub.cut_after.pop(inside, None)
        if cut is not None:
            rest = rest[:cut]
            self.close_connection = True
        self.hub.sent[inside] += len(rest)
        self.wfile.write(rest)
        self.wfile.flush()
        return None

    def sha256(self, inside: str, content: bytes) -> str:
        """The sha256 to announce for a file."""
        return self.hub.announced.get(inside) or hashlib.sha256(content).hexdigest()

    def send(self, content: bytes) -> None:
        """A JSON answer."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def refuse(self, status: int, code: str | None = None) -> None:
        """An error, named as the hub names it."""
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def files(folder: Path) -> list[Path]:
    """Every file under a folder."""
    return sorted(p for p in folder.rglob("*") if p.is_file())


def blob(content: bytes) -> str:
    """The name git gives a content."""
    return hashlib.sha1(b"blob %d\0%s" % (len(content), content), usedforsecurity=False).hexdigest()


@contextmanager
def serve() -> Iterator[Hub]:
    """A hub on a free port of loopback, until the block ends."""
    hub = Hub()
    handler = type("HubHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)

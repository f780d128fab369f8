"""A hub on loopback: the part of the Hugging Face hub's file protocol that fetching uses, with the faults a network has.

Repositories are folders. Large files (safetensors) are announced with their sha256, others with their git blob's sha1, as the hub does.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from base64 import b64decode
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
    received: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Repository -> path -> content of what was committed."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    """sha256 -> content of large files that were sent."""
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

    def do_POST(self) -> None:
        """Take a new repository, a card to check, a list of files, or a commit."""
        path = unquote(urlparse(self.path).path)
        self.hub.requests.append(f"POST {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self.refuse(401)
        if path == "/api/repos/create":
            given = json.loads(body)
            name = f"{given['organization']}/{given['name']}" if given.get("organization") else given["name"]
            self.hub.received.setdefault(name, {})
            return self.say({"url": f"{self.hub.url}/{name}", "name": name})
        if path == "/api/validate-yaml":
            return self.say({"errors": [], "warnings": []})
        if m := re.fullmatch(r"/api/(?:models|datasets)/([^/]+/[^/]+)/preupload/main", path):
            modes = [(f["path"], "lfs" if f["path"].endswith(".safetensors") else "regular") for f in json.loads(body)["files"]]
            return self.say({"files": [{"path": name, "uploadMode": mode, "shouldIgnore": False} for name, mode in modes]})
        if re.fullmatch(r"/[^/]+/[^/]+\.git/info/lfs/objects/batch", path):
            objects = json.loads(body)["objects"]
            for o in objects:
                o["actions"] = {"upload": {"href": f"{self.hub.url}/upload/{o['oid']}"}}
            return self.say({"transfer": "basic", "objects": objects})
        if m := re.fullmatch(r"/api/(?:models|datasets)/([^/]+/[^/]+)/commit/main", path):
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    self.hub.received[m[1]][value["path"]] = b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    self.hub.received[m[1]][value["path"]] = self.hub.blobs[value["oid"]]
            return self.say({"commitUrl": f"{self.hub.url}/{m[1]}/commit/{self.hub.commit}", "commitOid": self.hub.commit})
        return self.refuse(404)

    def do_PUT(self) -> None:
        """Take a large file's content."""
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.hub.requests.append(f"PUT {self.path}")
        oid = self.path.rpartition("/")[2]
        if hashlib.sha256(content).hexdigest() != oid:
            return self.refuse(400)
        self.hub.blobs[oid] = content
        return self.say({})

    def say(self, value: object) -> None:
        """A JSON value."""
        self.send(json.dumps(value).encode())

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

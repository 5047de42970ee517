"""A model hub on this machine, as far as huggingface_hub asks one for a model: its list of files, their hashes, their bytes from any place."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "c" * 40


class Hub:
    """repos: OWNER/REPO -> file -> bytes. damaged: served with a byte turned. stalled: sent half, then nothing more until `go` is set.
    ranges: what "Range" asked for, in the order of requests; gets: the files that were asked for."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.damaged: set[str] = set()
        self.stalled: set[str] = set()
        self.go, self.half = threading.Event(), threading.Event()
        self.ranges: list[str] = []
        self.gets: list[str] = []
        self.url = ""

    @contextmanager
    def serving(self) -> Iterator[Hub]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.answer(False)

            def do_GET(self) -> None:
                self.answer(True)

            def log_message(self, *args: Any) -> None:
                pass

            def answer(self, body: bool) -> None:
                api = re.fullmatch(r"/api/models/([^/]+/[^/?]+)(?:/revision/[^/?]+)?(?:\?.*)?", self.path)
                file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/([^?]+)(?:\?.*)?", self.path)
                if api and api.group(1) in hub.repos:
                    names = [{"rfilename": name} for name in hub.repos[api.group(1)]]
                    self.send(200, json.dumps({"id": api.group(1), "sha": COMMIT, "siblings": names}).encode(), {}, body)
                elif file and file.group(2) in hub.repos.get(file.group(1), {}):
                    self.file(file.group(2), hub.repos[file.group(1)][file.group(2)], body)
                else:
                    self.send(404, b"{}", {"X-Error-Code": "EntryNotFound" if file else "RepoNotFound"}, body)

            def file(self, name: str, data: bytes, body: bool) -> None:
                large = name.endswith((".gguf", ".safetensors"))
                tag = hashlib.sha256(data).hexdigest() if large else hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
                headers = {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
                if large:
                    headers |= {"X-Linked-Etag": f'"{tag}"', "X-Linked-Size": str(len(data))}
                if name in hub.damaged:
                    data = data[:-1] + bytes([data[-1] ^ 1])
                start, status = 0, 200
                asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
                if body:
                    hub.gets.append(name)
                    hub.ranges.append(self.headers.get("Range", ""))
                if asked:
                    start, status = int(asked.group(1)), 206
                    headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
                self.send(status, data[start:], headers, body, name in hub.stalled)

            def send(self, status: int, data: bytes, headers: dict[str, str], body: bool, stalls: bool = False) -> None:
                self.send_response(status)
                for key, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(key, value)
                self.end_headers()
                if body and stalls:
                    self.wfile.write(data[: len(data) // 2])
                    self.wfile.flush()
                    hub.half.set()
                    hub.go.wait(60)
                    self.close_connection = True
                elif body:
                    self.wfile.write(data)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield self
        finally:
            self.go.set()
            server.shutdown()
            server.server_close()

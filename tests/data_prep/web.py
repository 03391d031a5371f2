"""A web server on this machine that fails in the ways that servers do."""

import contextlib
import hashlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """What is served at a path, and how.

    Attributes:
        body: The file.
        etag: Its ETag; None for none. A new one whenever the file changes is up to the test.
        ranges: Whether parts are served.
        breaks: After how many bytes the connection breaks, one number for each of the first answers.
        statuses: Statuses of the first answers, before the file is served.
        redirect: Address that is answered instead.
        content_type: Its ``Content-Type``.
        has_length: Whether ``Content-Length`` is sent; without it the end of the connection is the end of the file.
    """

    body: bytes = b""
    etag: str | None = '"1"'
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    redirect: str | None = None
    content_type: str = "application/octet-stream"
    has_length: bool = True

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


class Web:
    """The server; ``pages`` may be changed while it runs, ``requests`` tells what it was asked.

    Attributes:
        pages: Path → what is served there.
        requests: ``(path, Range header or None, status)`` of every answer.
    """

    def __init__(self):
        self.pages: dict[str, Page] = {}
        self.requests: list[tuple[str, str | None, int]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def _handler(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            page = web.pages.get(self.path)
            asked = self.headers.get("Range")
            status, start = self._status(page, asked)
            web.requests.append((self.path, asked, status))
            self.send_response(status)
            if status in (200, 206):
                self._serve(page, status, start)
            else:
                if page and page.redirect:
                    self.send_header("Location", page.redirect)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def _status(self, page, asked):
            if page is None:
                return 404, 0
            if page.statuses:
                return page.statuses.pop(0), 0
            if page.redirect:
                return 302, 0
            same = self.headers.get("If-Range") in (None, page.etag)
            if not (asked and page.ranges and same):
                return 200, 0
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            return (206, start) if start < len(page.body) else (416, 0)

        def _serve(self, page, status, start):
            body = page.body[start:]
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{len(page.body) - 1}/{len(page.body)}")
            if page.has_length:
                self.send_header("Content-Length", str(len(body)))
            if page.etag:
                self.send_header("ETag", page.etag)
            self.send_header("Content-Type", page.content_type)
            self.end_headers()
            self.wfile.write(body[: page.breaks.pop(0)] if page.breaks else body)

        def log_message(self, *_):
            pass

    return Handler


@contextlib.contextmanager
def answering(content: bytes, endless: bytes = b"") -> Iterator[str]:
    """Address of a server that answers anything with these bytes, then ``endless`` until nobody listens any more."""

    def answer():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:  # closed
                return
            with connection, contextlib.suppress(OSError):
                connection.recv(1 << 16)
                connection.sendall(content)
                while endless:
                    connection.sendall(endless)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/a.bin"
        server.shutdown(socket.SHUT_RDWR)

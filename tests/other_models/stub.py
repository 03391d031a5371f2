"""A server with OpenAI's chat completions that behaves as well or as badly as a test wants, in a thread."""

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def said(text, finish="stop"):
    """The body of a completion."""
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}]})


@dataclass
class Reply:
    """What the server does with a request.

    Attributes:
        body: Of the response; None to break the connection off.
        status: Of the response.
        headers: Of the response, besides its length.
        delay: Seconds before it.
        length: The length that the response claims to have; None for its own.
    """

    body: str | None = said("yes")
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    length: int | None = None


class Stub:
    """The server's state.

    Attributes:
        replies: What it does with its first requests, in their order.
        then: What it does with all others: a reply, or a function of the request's JSON.
        requests: JSON of every request.
        headers: Headers of every request.
        most: Most requests at once.
    """

    def __init__(self, replies=(), then=None):
        self.replies, self.then = list(replies), then or Reply()
        self.requests, self.headers, self.most = [], [], 0
        self._lock, self._now = threading.Lock(), 0

    def take(self, request, headers):
        """The reply to a request, which has begun."""
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.requests.append(request)
            self.headers.append(headers)
            if self.replies:
                return self.replies.pop(0)
        return self.then(request) if callable(self.then) else self.then

    def end(self):
        """A request is over."""
        with self._lock:
            self._now -= 1


@contextmanager
def serving(stub):
    """Address of a server in this process that behaves as the stub says."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = stub.take({**request, "path": self.path}, dict(self.headers))
            time.sleep(reply.delay)
            stub.end()
            if reply.body is None:
                self.close_connection = True
                return
            body = reply.body.encode()
            self.send_response(reply.status)
            for name, value in {"Content-Length": reply.length or len(body), **reply.headers}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""The web application: a page, its examples, and the JSON API that the page itself uses.

It is for the person at this machine. It answers only to the names that it is served under, so that no page from
elsewhere can reach it through a name that leads here; takes requests only as JSON, which a browser sends from no other
page without asking first; loads nothing from elsewhere; and keeps nothing of what it is sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ofa_mi.decoding.modes import MODES
from ofa_mi.errors import DataError, OfaMiError
from ofa_mi.instructions.registry import Registry
from ofa_mi.instructions.spec import OUTPUTS, TaskSpec
from ofa_mi.serving.answering import Answerer, BusyError, TooSlowError
from ofa_mi.serving.examples import Examples
from ofa_mi.serving.questions import read_request

MOST_BYTES = 1 << 24  # of a request, images in base64 included
PARTS = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def application(
    answerer: Answerer, registry: Registry, examples: Examples, *, model: str, hosts: Sequence[str]
) -> Starlette:
    """The application.

    Args:
        answerer: The model.
        registry: Tasks that can be asked.
        examples: What the page offers to begin with.
        model: What the page calls the model.
        hosts: Names and addresses that it answers to, without a port; ``"*"`` for any.
    """

    async def about(_: Request) -> Response:
        return JSONResponse({"model": model, "modes": MODES, "outputs": OUTPUTS, "examples": examples.records})

    async def tasks(_: Request) -> Response:
        return JSONResponse([_task(spec) for spec in registry.values() if spec.instructions])

    async def example_image(request: Request) -> Response:
        place = request.path_params["place"]
        if place >= len(examples.images):
            raise HTTPException(404)
        kind, content = examples.images[place]
        return Response(content, media_type=kind)

    async def predict(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise HTTPException(415, "send the request as application/json")
        asked = read_request(await _body(request), registry, option_markers=answerer.predictor.option_markers)
        return JSONResponse({"model": model, "answers": await answerer.answer(asked)})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        answerer.close()

    return Starlette(
        routes=[
            *(Route(f"/{name}" if name != "page.html" else "/", _part(name)) for name in PARTS),
            Route("/api/about", about),
            Route("/api/tasks", tasks),
            Route("/api/predict", predict, methods=["POST"]),
            Route("/examples/{place:int}", example_image),
        ],
        middleware=[
            Middleware(_WithHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
        ],
        exception_handlers={OfaMiError: _refused, HTTPException: _refused},
        lifespan=lifespan,
    )


async def _body(request: Request) -> bytes:
    """What was sent; it is not read further than it may be long."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            raise HTTPException(413, f"a request has at most {MOST_BYTES >> 20} MiB: send a smaller image")
        parts.append(part)
    return b"".join(parts)


async def _refused(_: Request, error: Exception) -> Response:
    """An error as JSON with the status that fits it."""
    if isinstance(error, HTTPException):
        status, message = error.status_code, error.detail
    elif isinstance(error, BusyError | TooSlowError):
        status, message = 503, str(error)
    else:
        status, message = (400 if isinstance(error, DataError) else 500), str(error)
    return JSONResponse({"error": message}, status, {"Retry-After": "5"} if status == 503 else None)


def _task(spec: TaskSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "group": spec.group,
        "split": spec.split,
        "benchmark": spec.benchmark,
        "description": spec.description,
        "inputs": spec.inputs,
        "output": spec.output,
        "instructions": spec.instructions,
    }


def _part(name: str):
    """What answers with a file of the page."""

    async def part(_: Request) -> Response:
        return Response(_read(name), media_type=PARTS[name])

    return part


@cache
def _read(name: str) -> bytes:
    return (files("ofa_mi.serving") / name).read_bytes()


class _WithHeaders:
    """Adds :data:`HEADERS` to every answer, those of errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)

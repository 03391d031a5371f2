"""A model behind a server that speaks OpenAI's chat completions: vLLM, SGLang, llama.cpp, hosted services.

Several requests are on their way at once. One that fails in passing (the server is busy, breaks down, is too slow or
answers with rubbish) is sent again after a while; anything else ends the run with one line, after the answers that were
on their way have come. https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from PIL import Image

from ofa_mi.decoding.predictor import Prediction, Query
from ofa_mi.errors import ConfigError, DataError, ServerError, shown
from ofa_mi.other_models.log_probs import LARGEST, Token, option_scores, tokens_of
from ofa_mi.other_models.messages import Message
from ofa_mi.other_models.model import OtherModel, Sampling
from ofa_mi.utils.json_files import decode, one_line

try:
    import httpx2
except ImportError:
    raise ConfigError("--model openai: needs the package httpx2; install it with pip install 'ofa-mi[api]'") from None

KEY_VARIABLE = "OPENAI_API_KEY"
LONGEST_BODY = 1 << 20  # bytes of a response; an answer has a few thousand
LONGEST_WAIT = 60.0  # seconds before a request is sent again, also when the server asks for more
DOUBLINGS = 20  # of the wait, at most: a larger power may be no float
PASSING = (408, 409, 425, 429, 500, 502, 503, 504, 529)  # status codes of what may work a little later
HINTS = {
    401: "check the key in {variable}",
    403: "check the key in {variable}",
    404: "check the address, which usually ends in /v1, and --model-name",
}


Found = TypeVar("Found")


class _Text(msgspec.Struct):
    text: str = ""


class _Said(msgspec.Struct):
    content: str | list[_Text] | None = None


class _Choice(msgspec.Struct):
    message: _Said
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]


_COMPLETION = msgspec.json.Decoder(_Completion)


class _Passing(Exception):
    """A failure that may pass.

    Attributes:
        reason: In one line.
        wait: Seconds that the server asks to wait.
    """

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.reason, self.wait = reason, wait


class ServedModel(OtherModel):
    """A model behind a server.

    Args:
        url: Address of the server, such as ``http://localhost:8000/v1``.
        name: How it calls the model.
        regions: How regions are written.
        generation: How answers are drawn.
        system: What the model is told before every question.
        key_variable: Environment variable with the key; None for :data:`KEY_VARIABLE` if there is one. The key is sent
            to the server and goes nowhere else.
        parallel: Requests on their way at once, at most.
        timeout: Seconds that a request may take.
        retries: How often a request is sent again.
        first_wait: Seconds before the first of these, about; each further one doubles it.

    Raises:
        ConfigError: An argument cannot work.
    """

    modes = ("generate", "rank")

    def __init__(
        self,
        url: str,
        name: str,
        *,
        regions: str = "pixels",
        generation: Sampling | None = None,
        system: str | None = None,
        key_variable: str | None = None,
        parallel: int = 8,
        timeout: float = 120.0,
        retries: int = 6,
        first_wait: float = 1.0,
    ) -> None:
        super().__init__(regions, generation or Sampling(seed=1), system, "as served")
        self.host, self.url = checked_address(url)
        if not name:
            raise ConfigError("--model-name is missing: a server may have several models")
        if parallel < 1 or retries < 0 or not timeout > 0:
            raise ConfigError("--parallel must be at least 1, --retries 0 or more, and --timeout more than 0 seconds")
        self.name, self.parallel, self.timeout, self.retries = name, parallel, timeout, retries
        self.key_variable, self._key = key_variable or KEY_VARIABLE, _key(key_variable)
        self.first_wait, self._reached = first_wait, False

    @property
    def label(self) -> str:
        """As in :class:`OtherModel`."""
        return f"{one_line(self.name)} at {self.host}"

    @property
    def identity(self) -> dict[str, Any]:
        """As in :class:`OtherModel`."""
        return {"kind": "openai", "host": self.host, "name": self.name}

    def answers(self, queries: Iterable[Query], mode: str = "generate") -> Iterator[tuple[int, Prediction]]:
        """As in :class:`OtherModel`.

        Raises:
            ServerError: The server refuses a request, or one has failed too often.
            ConfigError: The mode is ``rank``, and the server gives no log-probabilities of a given text.
        """
        ask = self._rank if mode == "rank" else self._ask
        self._ending = asyncio.Event()
        numbered, failure = iter(enumerate(queries)), None
        pending: dict[asyncio.Task[Prediction], int] = {}
        with asyncio.Runner() as runner:
            client = httpx2.AsyncClient(timeout=None, limits=httpx2.Limits(max_connections=self.parallel))
            try:
                while True:
                    while failure is None and len(pending) < self.parallel and (item := next(numbered, None)):
                        number, query = item
                        pending[runner.get_loop().create_task(ask(client, query))] = number
                    if not pending:
                        break
                    for task in sorted(runner.run(_first_done(pending)), key=pending.__getitem__):
                        number = pending.pop(task)
                        if (error := task.exception()) is None:
                            yield number, task.result()
                        else:
                            failure = failure or error
                            self._ending.set()
            finally:
                runner.run(_close(client, pending))
        if failure is not None:
            raise failure

    async def _ask(self, client: httpx2.AsyncClient, query: Query) -> Prediction:
        message = self.encoder.message(query)
        body = await asyncio.to_thread(self._body, message)
        reply, cut = await self._answered(client, body, query, self._said)
        return message.answer(reply, cut=cut)

    async def _rank(self, client: httpx2.AsyncClient, query: Query) -> Prediction:
        """The likeliest option; they are asked for one after the other."""
        message = self.encoder.message(query)
        if not query.options:
            raise ConfigError(f"{query.name}: --mode rank needs options to choose from, and there are none")
        options = [message.option(option) for option in query.options]
        conversations = []
        for option in options:
            body = await asyncio.to_thread(self._body, message, option)
            tokens = await self._answered(client, body, query, self._tokens, LARGEST)
            if tokens is None:
                raise ConfigError(
                    f"--mode rank needs log-probabilities of a given text, which {self.label} does not give (vLLM "
                    "does, by prompt_logprobs): choose --mode generate"
                )
            conversations.append(tokens)
        scores = option_scores(conversations)
        best = max(range(len(scores)), key=scores.__getitem__)
        return replace(message.answer(options[best], cut=False), score=scores[best], option_scores=tuple(scores))

    async def _answered(
        self,
        client: httpx2.AsyncClient,
        body: bytes,
        query: Query,
        read: Callable[[bytes], Found],
        largest: int = LONGEST_BODY,
    ) -> Found:
        """What is read from the answer to a request, which is sent again after a failure that may pass."""
        for attempt in count():
            try:
                return read(await self._post(client, body, query.name, largest))
            except _Passing as failed:
                if attempt == self.retries or self._ending.is_set():
                    tried = f"; tried {attempt + 1} times, last" if attempt else ","
                    raise ServerError(
                        f"{self.url}: {failed.reason}{tried} for {query.name}; the same command goes on from there"
                    ) from None
                doubled = self.first_wait * 2 ** min(attempt, DOUBLINGS)
                await self._pause(max(failed.wait, min(doubled, LONGEST_WAIT)))
        raise AssertionError("count() has no end")

    async def _pause(self, seconds: float) -> None:
        """Wait about so long, so that requests which failed together do not come again together."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds * random.uniform(1.0, 1.5)):
                await self._ending.wait()

    def _body(self, message: Message, option: str | None = None) -> bytes:
        """A request for an answer; or, with an option, for the log-probabilities of its tokens as that answer."""
        content: str | list[dict[str, Any]] = message.text
        if message.image is not None:
            image = {"type": "image_url", "image_url": {"url": _data_url(message.image)}}
            content = [image, {"type": "text", "text": message.text}]
        system = [{"role": "system", "content": self.system}] if self.system else []
        request = {
            "model": self.name,
            "messages": [*system, {"role": "user", "content": content}],
            "temperature": self.generation.temperature,
            "seed": self.generation.seed,
            "max_tokens": self.generation.max_len,
        }
        if option is not None:
            request["messages"].append({"role": "assistant", "content": option})
            request |= {"add_generation_prompt": False, "prompt_logprobs": 0, "max_tokens": 1}
        return json.dumps(request).encode()

    async def _post(self, client: httpx2.AsyncClient, body: bytes, name: str, largest: int) -> bytes:
        """The content of the response."""
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            async with (
                asyncio.timeout(self.timeout),
                client.stream("POST", self.url, content=body, headers=headers) as response,
            ):
                self._reached = True
                content = await _read(response, largest)
        except TimeoutError:
            raise _Passing(f"no answer within {self.timeout:g} seconds (--timeout)") from None
        except httpx2.RequestError as error:
            reason = self._safe(f"{type(error).__name__}: {error}")
            if isinstance(error, httpx2.TransportError) and (
                self._reached or not isinstance(error, httpx2.ConnectError)
            ):
                raise _Passing(f"the connection failed ({reason})") from None
            raise ServerError(
                f"{self.url}: cannot be reached ({reason}); is the server running, and --model its address?"
            ) from None
        if response.status_code != httpx2.codes.OK:
            self._refused(response, content, name)
        return content

    def _tokens(self, content: bytes) -> list[Token] | None:
        """As :func:`~ofa_mi.other_models.log_probs.tokens_of`."""
        try:
            return tokens_of(content)
        except DataError as error:
            raise _Passing(self._safe(str(error))) from None

    def _said(self, content: bytes) -> tuple[str, bool]:
        """The model's words, and whether they were cut off."""
        try:
            completion = decode(content, _COMPLETION, "the answer is not a chat completion")
        except DataError as error:
            raise _Passing(self._safe(str(error))) from None
        if not completion.choices:
            raise _Passing("the answer is not a chat completion (it has no choices)")
        choice = completion.choices[0]
        said = choice.message.content or ""
        text = said if isinstance(said, str) else "".join(part.text for part in said)
        return text, choice.finish_reason == "length"

    def _refused(self, response: httpx2.Response, content: bytes, name: str) -> None:
        """Raise what a status other than 200 means."""
        status = response.status_code
        reason = f"answered with status {status} ({self._safe(_reason(content))})"
        if status in PASSING:
            wait = _seconds(response.headers.get("Retry-After", ""))
            if wait <= LONGEST_WAIT:
                raise _Passing(reason, wait)
            raise ServerError(
                f"{self.url}: {reason} and asks to wait {wait:.0f} seconds; the same command goes on from there"
            )
        if response.has_redirect_location:
            hint = f"it points to {_place(response.headers['Location'])}: give that address"
        else:
            hint = HINTS.get(status, f"it was asked for {name}").format(variable=self.key_variable)
        raise ServerError(f"{self.url}: {reason}; {hint}")

    def _safe(self, text: str) -> str:
        """A text of the server's in one line, without the key."""
        return one_line(text.replace(self._key, "…") if self._key else text) or "no reason given"


def checked_address(url: str) -> tuple[str, str]:
    """Host of a server, with its port, and the address that its chat completions have.

    Raises:
        ConfigError: It is no such address, or holds a key.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https") or not url.isprintable() or " " in url:
        raise ConfigError("--model openai: needs an address such as openai:http://localhost:8000/v1")
    host = f"[{host}]" if ":" in host else host
    host = host if port is None else f"{host}:{port}"
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(
            f"--model openai:{parts.scheme}://{host}…: holds a user, password or parameters; give the plain address, "
            "and a key by an environment variable (--api-key-env)"
        )
    return host, f"{parts.scheme}://{host}{parts.path.rstrip('/')}/chat/completions"


def _key(variable: str | None) -> str | None:
    """The key in an environment variable; None if there is none by the usual name."""
    key = os.environ.get(variable or KEY_VARIABLE, "").strip()
    if variable is not None and not key:
        raise ConfigError(f"--api-key-env {one_line(variable)}: there is no such environment variable, or it is empty")
    if not key.isascii() or not (key.isprintable() or not key) or " " in key:
        raise ConfigError(
            f"the environment variable {one_line(variable or KEY_VARIABLE)} holds no key: it has spaces "
            "or characters that a key cannot have"
        )
    return key or None


def _data_url(image: Image.Image) -> str:
    """An image as an address that holds it, without loss."""
    file = io.BytesIO()
    image.convert("RGB").save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


async def _first_done(pending: Iterable[asyncio.Task]) -> set[asyncio.Task]:
    done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    return done


async def _close(client: httpx2.AsyncClient, tasks: Iterable[asyncio.Task]) -> None:
    """End everything that is still on its way."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.aclose()


async def _read(response: httpx2.Response, largest: int) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > largest:
            raise _Passing(f"the answer is longer than {largest:,} bytes")
    return bytes(content)


def _place(location: str) -> str:
    """Where a redirection leads, without what may be secret in an address."""
    try:
        moved = urlsplit(location)
        return shown(f"{moved.scheme}://{moved.hostname}{moved.path}")
    except ValueError:
        return "an address that is none"


def _reason(content: bytes) -> str:
    """What a server says of an error: its message where it is in one of the usual places, else everything."""
    try:
        found = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return content.decode(errors="replace")
    for key in ("error", "message", "detail"):
        found = found.get(key, found) if isinstance(found, dict) else found
    return found if isinstance(found, str) else json.dumps(found)


def _seconds(header: str) -> float:
    """Seconds of a ``Retry-After``, which gives them or a date; 0 if it gives neither (RFC 9110, 10.2.3)."""
    if header.strip().isdecimal():
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except (ValueError, OverflowError):  # the latter of a year of many digits
        return 0.0
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time())

"""``ofa-mi serve``: a local page to try a model on, and a JSON API beside it (docs/serve.md).

ofa-mi serve --checkpoint nano
ofa-mi serve --checkpoint C.pt --examples data/scenes --port 8080
"""

from __future__ import annotations

import argparse
import ipaddress
import socket
import tempfile
from pathlib import Path

from ofa_mi.commands.options import (
    add_checkpoint_options,
    add_device_option,
    add_instruction_options,
    add_precision_option,
    add_weights_option,
    data_directories,
    load_predictor,
    positive_number,
)
from ofa_mi.errors import ConfigError
from ofa_mi.instructions.registry import load_registry

HELP = "a page in the browser to try a model on, and the same as a JSON API"
LOCAL = ("localhost", "127.0.0.1", "[::1]")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_checkpoint_options(parser)
    add_weights_option(parser)
    add_device_option(parser)
    add_precision_option(parser)
    parser.add_argument("--port", type=int, default=7860, help="port of the page; 0 takes a free one (default: 7860)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; default: this machine alone. There are no passwords: whoever reaches another "
        "address can use the model",
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name that the server is reached by, such as that of a proxy; other names are refused",
    )
    parser.add_argument(
        "--examples",
        type=data_directories,
        metavar="DIRS",
        help="data directories that the page takes its examples from, joined by ':'; default: drawn scenes",
    )
    parser.add_argument("--beam", type=positive_number, default=5, metavar="N", help="beams of the search")
    parser.add_argument("--max-len", type=positive_number, default=64, metavar="N", help="longest answer in tokens")
    parser.add_argument(
        "--timeout", type=positive_number, default=60, metavar="SECONDS", help="that a request may take (default: 60)"
    )
    add_instruction_options(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C; the exit status."""
    try:
        import uvicorn

        from ofa_mi.serving.app import application
    except ImportError as error:
        raise ConfigError(f"{error.name} is not installed: pip install 'ofa-mi[demo]'") from None
    from ofa_mi.serving.answering import Answerer
    from ofa_mi.serving.examples import Examples, scenes

    registry = load_registry(*args.instruction_dir, language=args.instruction_language)
    server = _listen(args.host, args.port)
    predictor = load_predictor(args)
    with tempfile.TemporaryDirectory(prefix="ofa-mi-") as folder:
        examples = Examples(
            args.examples or [scenes(Path(folder))], [name for name, spec in registry.items() if spec.instructions]
        )
    app = application(
        Answerer(predictor, seconds=args.timeout),
        registry,
        examples,
        model=Path(args.checkpoint).stem,
        hosts=[*LOCAL, args.host, *args.name],
    )
    host, port = server.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"http://{shown}:{port}", "(Ctrl-C ends it)", flush=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, proxy_headers=False)
    uvicorn.Server(config).run(sockets=[server])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens, before anything slow is begun.

    Raises:
        ConfigError: There is no such address here, or the port is taken.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port {port}: must be from 0 to 65535")
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        raise ConfigError(f"--host {host}: is no address, such as 127.0.0.1 or 0.0.0.0") from None
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((host, port))
    except OSError as error:
        server.close()
        raise ConfigError(f"--host {host} --port {port}: {error.strerror}; choose another --port") from None
    server.listen()
    return server

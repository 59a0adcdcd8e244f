"""Serves the page on this machine's network, keeping what visitors bring in one folder that goes in the end."""

import os
import socket
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse

from evatok.app.comparing import Models
from evatok.app.generating import Generating
from evatok.app.limits import AppLimits
from evatok.app.page import ASSETS, THEME, build_page
from evatok.app.showing import Showing
from evatok.generator.model import VideoGenerator

GENERATOR = "evatok-tiny-ale"
# Where Gradio is told to keep uploads and what it serves.
_FOLDER = "GRADIO_TEMP_DIR"


def serve(tokenizer: str, host: str, port: int) -> None:
    """Serves the page until the process is told to end.

    Args:
        tokenizer: a shipped name, a folder, or a hub's repository, with a router.
        host, port: as `serving` takes them.

    Raises:
        ValueError: the tokenizer cannot be loaded or shown.
        OSError: nothing can listen there.
        PackageError: the weights of LPIPS cannot be fetched.
    """
    _check_free(host, port)  # before models are loaded
    generating = Generating(VideoGenerator.from_pretrained(GENERATOR))
    with serving(Models.load(tokenizer), generating, host=host, port=port) as url:
        print(f"{url} shows what {tokenizer} makes of your video; Ctrl-C ends it", flush=True)
        threading.Event().wait()


@contextmanager
def serving(
    models: Models,
    generating: Generating,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    limits: AppLimits | None = None,
) -> Iterator[str]:
    """Serves the page as long as the block lasts; gives its address.

    Args:
        models: what videos are tokenized and measured with.
        generating: what generates videos.
        host: address to listen at; 0.0.0.0 for all of this machine's.
        port: to listen at; 0 for one that is free.
        limits: of what a visitor may ask for; None: as they are.

    Raises:
        OSError: nothing can listen there.
    """
    limits = limits or AppLimits()
    with tempfile.TemporaryDirectory(prefix="evatok-app-", ignore_cleanup_errors=True) as folder:
        root = Path(folder, "visitors")
        root.mkdir()
        before = os.environ.get(_FOLDER)
        os.environ[_FOLDER] = str(Path(folder, "served"))
        page = build_page(Showing(models, limits), generating, limits, root)
        try:
            _, url, _ = page.launch(
                server_name=host,
                server_port=port or None,
                share=False,
                prevent_thread_lock=True,
                quiet=True,
                footer_links=[],
                ssr_mode=False,
                app_kwargs={"middleware": [Middleware(OwnFilesOnly)]},
                max_file_size=f"{limits.megabytes}mb",
                theme=THEME,
                css=(ASSETS / "style.css").read_text(),
            )
            yield url
        finally:
            page.close(verbose=False)
            if before is None:
                del os.environ[_FOLDER]
            else:
                os.environ[_FOLDER] = before


def _check_free(host: str, port: int) -> None:
    """OSError, whose sentence says what to do, where nothing can listen at an address."""
    try:
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((host, port))
    except (OSError, OverflowError) as error:
        raise OSError(f"nothing can listen at {host}:{port}: {error}; --port and --host take others") from error


class OwnFilesOnly:
    """Refuses what Gradio would fetch from elsewhere for a visitor: the page serves its own files alone."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As ASGI has it."""
        _, _, asked = scope.get("path", "").partition("/file=")
        handler = PlainTextResponse("not here", 403) if asked.startswith(("http:", "https:")) else self._app
        await handler(scope, receive, send)

"""Serves the page on this machine's network, keeping what visitors bring in one folder that goes in the end."""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from evatok.app.comparing import Models
from evatok.app.generating import Generating
from evatok.app.limits import AppLimits
from evatok.app.page import ASSETS, THEME, build_page
from evatok.app.showing import Showing

GENERATOR = "evatok-tiny-ale"


@dataclass(frozen=True)
class Served:
    """A page that is being served.

    Args:
        url: where.
        page: what.
        folder: with all that visitors bring and get.
    """

    url: str
    page: gr.Blocks
    folder: Path


def serve(tokenizer: str, host: str, port: int) -> None:
    """Serves the page until the process is told to end; arguments and errors are those of `serving`."""
    with serving(tokenizer, host=host, port=port) as served:
        print(f"{served.url} shows what {tokenizer} makes of your video; Ctrl-C ends it", flush=True)
        threading.Event().wait()


@contextmanager
def serving(
    tokenizer: str, *, host: str = "127.0.0.1", port: int = 7860, limits: AppLimits | None = None
) -> Iterator[Served]:
    """Serves the page as long as the block lasts.

    Args:
        tokenizer: a shipped name, a folder, or a hub's repository, with a router.
        host: address to listen at; 0.0.0.0 for all of this machine's.
        port: to listen at; 0 for any that is free.
        limits: of what a visitor may ask for.

    Raises:
        ValueError: the tokenizer cannot be loaded or shown.
        OSError: nothing can listen there.
    """
    limits = limits or AppLimits()
    models = Models.load(tokenizer)
    with tempfile.TemporaryDirectory(prefix="evatok-app-", ignore_cleanup_errors=True) as folder:
        root = Path(folder, "visitors")
        root.mkdir()
        # Gradio keeps uploads and what it serves there.
        os.environ["GRADIO_TEMP_DIR"] = str(Path(folder, "served"))
        page = build_page(Showing(models, limits), Generating(GENERATOR), limits, root)
        try:
            _, url, _ = page.launch(
                server_name=host,
                server_port=port or None,
                share=False,
                prevent_thread_lock=True,
                quiet=True,
                show_error=False,
                footer_links=[],
                ssr_mode=False,
                max_file_size=f"{limits.megabytes}mb",
                theme=THEME,
                css=(ASSETS / "style.css").read_text(),
            )
            yield Served(url, page, Path(folder))
        finally:
            page.close(verbose=False)

"""The page: its parts, what they look like, and which function answers what a visitor does."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import gradio as gr

from evatok.app.generating import NO_CLASS, Generating
from evatok.app.limits import AppLimits
from evatok.app.showing import SAMPLES, Showing
from evatok.app.visit import Visit

ASSETS = Path(__file__).parent
THEME = gr.themes.Base(
    font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"], primary_hue="blue", radius_size="sm"
)
# One visitor's model at a time: two would only make each other slow.
_ONE: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}
_ABOUT = (
    "Every block of four frames gets its own number of tokens. Your video stays on the machine that serves this page, "
    "and goes when you have left. The models are small ones."
)
Answer = Callable[..., Iterator[dict[Any, Any]]]
# Where each part of a view is shown.
Places = dict[str, list[gr.components.Component]]


def build_page(showing: Showing, generating: Generating, limits: AppLimits, root: Path) -> gr.Blocks:
    """The page of both tabs.

    Args:
        showing: answers the first tab.
        generating: answers the second.
        limits: what is said of them.
        root: where visitors get their folders.
    """
    kept = 60 * limits.minutes
    with gr.Blocks(title="evatok", analytics_enabled=False, delete_cache=(kept // 4, kept)) as page:
        visit = gr.State(None, time_to_live=kept, delete_callback=lambda visit: visit and visit.end())
        gr.Markdown("# evatok: video as tokens, as many as each part needs")
        gr.Markdown(_ABOUT)

        def answered(function: Callable[..., Iterator[Any]], places: Places) -> Answer:
            """A function of a visit as Gradio calls it: what a view has goes to its places."""

            def answer(visited: Visit | None, *given: Any) -> Iterator[dict[Any, Any]]:
                visited = visited or Visit.begin(root)
                for view in function(visited, *given):
                    changed = {name: value for name, value in asdict(view).items() if value is not None}
                    parts = {part: _shown(value) for name, value in changed.items() for part in places[name]}
                    yield {visit: visited, **parts}

            return answer

        with gr.Tabs():
            with gr.Tab("Your video"):
                _video_tab(showing, limits, visit, answered)
            with gr.Tab("Generate"):
                _generation_tab(generating, limits, visit, answered)
    page.queue(max_size=limits.waiting, default_concurrency_limit=1)
    return page


def _shown(value: str | Path) -> str | None:
    """A value as a component takes it: a file by its path, nothing as None."""
    return str(value) or None


def _video_tab(showing: Showing, limits: AppLimits, visit: gr.State, answered: Callable[..., Answer]) -> None:
    router = showing.models.router
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            what = f"A video, up to {limits.megabytes} MB; its first {limits.seconds:g} s are shown"
            upload = gr.File(label=what, file_count="single", height=130, elem_id="upload")
            with gr.Row():
                buttons = {name: gr.Button(f"Sample: {name}", size="sm", min_width=120) for name in SAMPLES}
            info = "left: fewer tokens, right: better quality"
            w_q = gr.Slider(0.4, 2.0, router.calibration.w_q, step=0.1, label="Quality over cost (w_q)", info=info)
            status = gr.HTML(elem_id="status")
            table = gr.HTML(elem_id="scores")
            with gr.Row():
                tokens = gr.DownloadButton("Tokens", size="sm", min_width=100, elem_id="tokens")
                film = gr.DownloadButton("Video", size="sm", min_width=100, elem_id="film")
        with gr.Column(scale=3, min_width=300):
            video = gr.Video(
                label="Original and reconstruction",
                autoplay=True,
                loop=True,
                interactive=False,
                elem_id="comparison",
                buttons=[],
            )
            bars = gr.HTML(elem_id="bars", js_on_load=(ASSETS / "playhead.js").read_text())
            curve = gr.HTML(elem_id="curve")
    places: Places = {
        "told": [status],
        "video": [video, film],
        "tokens": [tokens],
        "bars": [bars],
        "scores": [table],
        "curve": [curve],
    }
    outputs = [visit, *chain.from_iterable(places.values())]

    def uploaded(visited: Visit, path: str | None, preference: float) -> Iterator[Any]:
        if path:
            yield from showing.video(visited, Path(path), Path(path).name, preference)

    opening = [
        upload.upload(
            answered(uploaded, places), [visit, upload, w_q], outputs, show_progress="hidden", api_name="video", **_ONE
        )
    ]
    for name, button in buttons.items():

        def sample(visited: Visit, preference: float, name: str = name) -> Iterator[Any]:
            yield from showing.sample(visited, name, preference)

        opening.append(
            button.click(
                answered(sample, places),
                [visit, w_q],
                outputs,
                show_progress="hidden",
                api_visibility="private",
                **_ONE,
            )
        )
    moving = w_q.release(
        answered(showing.priced, places),
        [visit, w_q],
        outputs,
        show_progress="hidden",
        api_name="preference",
        trigger_mode="always_last",
        **_ONE,
    )
    # By itself, so that nobody's first picture waits for somebody's curve.
    for event in (*opening, moving):
        event.then(
            answered(showing.curve, places),
            [visit, w_q],
            outputs,
            show_progress="hidden",
            api_visibility="private",
            concurrency_id="curve",
            concurrency_limit=1,
        )


def _generation_tab(
    generating: Generating, limits: AppLimits, visit: gr.State, answered: Callable[..., Answer]
) -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            classes = [NO_CLASS, *generating.generator.config.classes]
            label = gr.Dropdown(classes, value="pong", label="Class", filterable=True)
            guidance = gr.Slider(1.0, 4.0, 1.5, step=0.1, label="Guidance", info="1: the model as it is")
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31 - 1)
            count = gr.Slider(1, limits.generated, 4, step=1, label="Videos")
            button = gr.Button("Generate", variant="primary", elem_id="generate")
            status = gr.HTML(elem_id="generated-status")
            with gr.Row():
                tokens = gr.DownloadButton("Tokens", size="sm", min_width=100)
                film = gr.DownloadButton("Video", size="sm", min_width=100)
        with gr.Column(scale=3, min_width=300):
            videos = gr.HTML(elem_id="generated")
    places: Places = {"told": [status], "videos": [videos], "video": [film], "tokens": [tokens]}
    inputs = [visit, label, guidance, seed, count]
    button.click(
        answered(generating.generate, places),
        inputs,
        [visit, *chain.from_iterable(places.values())],
        show_progress="hidden",
        api_name="generate",
        **_ONE,
    )

"""The page: its parts, what they look like, and which function answers what a visitor does."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import gradio as gr

from evatok.app.generating import NO_CLASS, Generating
from evatok.app.limits import AppLimits
from evatok.app.showing import SAMPLES, Showing, View
from evatok.app.visit import Visit

ASSETS = Path(__file__).parent
THEME = gr.themes.Base(
    font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"], primary_hue="blue", radius_size="sm"
)
# One visitor's model at a time: two would only make each other slow.
_ONE: dict[str, Any] = {
    "concurrency_id": "model",
    "concurrency_limit": 1,
    "trigger_mode": "always_last",
    "show_progress": "hidden",
}
_CURVE: dict[str, Any] = {"concurrency_id": "curve", "concurrency_limit": 1, "show_progress": "hidden"}
# The paper's range of preferences.
W_Q = (0.4, 2.0)
FIRST_CLASS = "enduro"
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
                    parts = {part: _shown(part, value) for name, value in changed.items() for part in places[name]}
                    yield {visit: visited, **parts}

            return answer

        with gr.Tabs():
            with gr.Tab("Your video"):
                _video_tab(showing, limits, visit, answered)
            with gr.Tab("Generate"):
                _generation_tab(generating, limits, visit, answered)
    page.queue(max_size=limits.waiting, default_concurrency_limit=1)
    return page


def _shown(part: gr.components.Component, value: str | Path) -> Any:
    """A value as a component takes it: a file by its path, nothing as None; what is not there cannot be downloaded."""
    given = str(value) or None
    return gr.update(value=given, interactive=bool(given)) if isinstance(part, gr.DownloadButton) else given


def _take_files_alone(upload: gr.File) -> None:
    """Refuses an address in the place of a file: Gradio would fetch it."""
    keep = upload.async_move_resource_to_block_cache

    async def keep_file(url_or_file_path: str | Path | None) -> str | None:
        if str(url_or_file_path).startswith(("http:", "https:")):
            raise gr.Error("A video has to be uploaded; addresses are not fetched.", print_exception=False)
        return await keep(url_or_file_path)

    # Not by a subclass: Gradio would write a file beside its module.
    upload.async_move_resource_to_block_cache = keep_file  # type: ignore[method-assign]


def _html(name: str, script: str | None = None) -> gr.HTML:
    """A place for HTML of our own."""
    return gr.HTML(elem_id=name, apply_default_css=False, js_on_load=script)


def _downloads() -> tuple[gr.DownloadButton, gr.DownloadButton]:
    """Buttons for tokens and for a video."""
    with gr.Row():
        tokens, video = (
            gr.DownloadButton(label, size="sm", min_width=100, interactive=False)
            for label in ("Download tokens", "Download video")
        )
    return tokens, video


def _video_tab(showing: Showing, limits: AppLimits, visit: gr.State, answered: Callable[..., Answer]) -> None:
    with gr.Row():
        with gr.Column(scale=3, min_width=300):
            what = f"Video, up to {limits.megabytes} MB; {limits.seconds:g} s are shown"
            upload = gr.File(label=what, height=165, elem_id="upload")
            _take_files_alone(upload)
            with gr.Row():
                samples = {name: gr.Button(f"Sample: {name}", size="sm", min_width=120) for name in SAMPLES}
            own = showing.models.router.calibration.w_q
            info = "to the left fewer tokens, to the right better quality"
            w_q = gr.Slider(*W_Q, own, step=0.1, label="Quality over cost (w_q)", info=info, elem_id="w_q")
            status = _html("status")
        with gr.Column(scale=4, min_width=300):
            video = gr.Video(
                show_label=False, autoplay=True, loop=True, interactive=False, buttons=[], elem_id="comparison"
            )
            bars = _html("bars", (ASSETS / "playhead.js").read_text())
    with gr.Row():
        with gr.Column(scale=3, min_width=300):
            table = _html("scores")
            tokens, film = _downloads()
        with gr.Column(scale=4, min_width=300):
            curve = _html("curve")
    places: Places = {
        "told": [status],
        "video": [video, film],
        "tokens": [tokens],
        "bars": [bars],
        "scores": [table],
        "curve": [curve],
    }
    outputs = [visit, *chain.from_iterable(places.values())]

    def uploaded(visited: Visit, path: str | None, preference: float) -> Iterator[View]:
        if path:
            yield from showing.video(visited, Path(path), Path(path).name, preference)

    def sample(name: str) -> Callable[[Visit, float], Iterator[View]]:
        return lambda visited, preference: showing.sample(visited, name, preference)

    opening = [upload.upload(answered(uploaded, places), [visit, upload, w_q], outputs, api_name="video", **_ONE)]
    for name, button in samples.items():
        opening.append(button.click(answered(sample(name), places), [visit, w_q], outputs, api_name=name, **_ONE))
    moving = w_q.change(answered(showing.priced, places), [visit, w_q], outputs, api_name="preference", **_ONE)
    drawing = [
        # Not one of those that wait for each other: nobody's first picture waits for somebody's curve.
        event.then(answered(showing.curve, places), [visit, w_q], outputs, api_name="curve", **_CURVE)
        for event in (*opening, moving)
    ]
    for trigger in (upload.upload, *(button.click for button in samples.values())):
        trigger(None, cancels=[moving, *drawing])
    w_q.change(None, cancels=drawing)


def _generation_tab(
    generating: Generating, limits: AppLimits, visit: gr.State, answered: Callable[..., Answer]
) -> None:
    with gr.Row():
        with gr.Column(scale=3, min_width=300):
            classes = [NO_CLASS, *generating.generator.config.classes]
            label = gr.Dropdown(classes, value=FIRST_CLASS, label="Class", filterable=True)
            guidance = gr.Slider(1.0, 4.0, 1.5, step=0.1, label="Guidance", info="1: the model as it is")
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31 - 1)
            count = gr.Slider(1, limits.generated, 4, step=1, label="Videos")
            button = gr.Button("Generate", variant="primary", elem_id="generate")
            status = _html("generated-status")
            tokens, film = _downloads()
        with gr.Column(scale=4, min_width=300):
            videos = _html("generated")
    places: Places = {"told": [status], "videos": [videos], "video": [film], "tokens": [tokens]}
    inputs = [visit, label, guidance, seed, count]
    button.click(
        answered(generating.generate, places),
        inputs,
        [visit, *chain.from_iterable(places.values())],
        api_name="generate",
        **_ONE,
    )

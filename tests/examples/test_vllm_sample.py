"""The logits processor for vLLM, in a stand-in of its engine: requests come, go and move from row to row."""

import runpy
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from evatok.generator.grammar import Parsed
from evatok.generator.model import VideoGenerator
from evatok.video.reading import read_video
from tests.docs.pages import ROOT
from tests.generator.conftest import random_generator

ROWS = 3


class MoveDirectionality(Enum):
    UNIDIRECTIONAL = 0
    SWAP = 1


@dataclass
class BatchUpdate:
    batch_size: int
    removed: list[int]
    added: list[tuple[int, Any, list[int], list[int]]]
    moved: list[tuple[int, int, MoveDirectionality]]


class Engine:
    """What vLLM's `LLM` does with a processor: rows stay close together, waiting requests enter as others leave."""

    def __init__(self, model: str, skip_tokenizer_init: bool, logits_processors: list[type]) -> None:
        assert skip_tokenizer_init
        config = SimpleNamespace(model_config=SimpleNamespace(model=model))
        [self.processor] = [each(config, torch.device("cpu"), False) for each in logits_processors]
        assert not self.processor.is_argmax_invariant()
        self.random = torch.Generator().manual_seed(0)
        self.moves = list[MoveDirectionality]()

    def generate(self, prompts: list[dict[str, list[int]]], options: SimpleNamespace) -> list[SimpleNamespace]:
        waiting, outputs = [*range(len(prompts))], [list[int]() for _ in prompts]
        rows, size = list[int](), len(self.processor.grammar.vocabulary)
        while waiting or rows:
            assert all(len(ids) <= options.max_tokens for ids in outputs)
            free = [row for row, number in enumerate(rows) if outputs[number][-1:] == options.stop_token_ids]
            update = BatchUpdate(0, [], [], [])
            # Waiting requests take the places of those that ended, then those behind.
            while waiting and (free or len(rows) < ROWS):
                number, row = waiting.pop(0), free.pop(0) if free else len(rows)
                rows[row : row + 1] = [number]
                update.added.append((row, options, prompts[number]["prompt_token_ids"], outputs[number]))
            self._close(rows, free, update)
            if len(rows) > 1 and torch.rand(1, generator=self.random) < 0.2:
                rows[0], rows[-1] = rows[-1], rows[0]
                update.moved.append((0, len(rows) - 1, MoveDirectionality.SWAP))
            self.moves += [how for *_, how in update.moved]
            self.processor.update_state(update if update.removed or update.added or update.moved else None)
            if not rows:
                break
            logits = self.processor.apply(5 * torch.randn(len(rows), size, generator=self.random))
            tokens = torch.multinomial(logits.softmax(-1), 1, generator=self.random)[:, 0].tolist()
            for number, token in zip(rows, tokens, strict=True):
                outputs[number].append(token)
        return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=ids)]) for ids in outputs]

    def _close(self, rows: list[int], free: list[int], update: BatchUpdate) -> None:
        """The last rows take the places that nobody has taken."""
        update.removed += free
        while free:
            last = len(rows) - 1
            if last in free:
                free.remove(last)
            else:
                hole = free.pop(0)
                rows[hole] = rows[last]
                update.moved.append((last, hole, MoveDirectionality.UNIDIRECTIONAL))
            rows.pop()


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("vllm", "vllm.v1", "vllm.v1.sample", "vllm.v1.sample.logits_processor")
    modules = [ModuleType(name) for name in names]
    modules[0].LLM, modules[0].SamplingParams = Engine, SimpleNamespace  # type: ignore[attr-defined]
    for each in (BatchUpdate, MoveDirectionality):
        setattr(modules[-1], each.__name__, each)
    modules[-1].LogitsProcessor = object  # type: ignore[attr-defined]
    modules[0].__version__ = "of a test"  # type: ignore[attr-defined]
    monkeypatch.setenv("VLLM_USE_V2_MODEL_RUNNER", "")  # the example sets it; afterwards it is as before
    for name, module in zip(names, modules, strict=True):
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.usefixtures("vllm")
def test_whatever_the_model_says_every_request_is_a_sequence(tmp_path: Path) -> None:
    random_generator(clips=2).save_pretrained(tmp_path)
    generator = VideoGenerator.from_pretrained(tmp_path)
    grammar, made = generator.grammar, runpy.run_path(str(ROOT / "examples/vllm_sample.py"))
    engine = Engine(str(tmp_path), True, [made["GrammarProcessor"]])
    starts = [grammar.vocabulary.label(each) for each in ("pong", "boxing", None) * 5]
    end = grammar.vocabulary.end
    options = SimpleNamespace(max_tokens=grammar.longest - 1, stop_token_ids=[end])
    answers = engine.generate([{"prompt_token_ids": [start]} for start in starts], options)
    parsed = [
        grammar.parse(torch.tensor([start, *answer.outputs[0].token_ids]))
        for start, answer in zip(starts, answers, strict=True)
    ]
    assert [each.label for each in parsed] == [0, 1, -1] * 5
    assert len({each.lengths for each in parsed}) > 5
    assert {*engine.moves} == {*MoveDirectionality}


@pytest.mark.usefixtures("vllm")
def test_given_beginnings_go_on(tmp_path: Path) -> None:
    random_generator().save_pretrained(tmp_path)
    grammar = VideoGenerator.from_pretrained(tmp_path).grammar
    made = runpy.run_path(str(ROOT / "examples/vllm_sample.py"))
    level = grammar.vocabulary.levels[1]
    given = grammar.prefix("pong", [level], torch.arange(level)).tolist()
    for cut in range(1, len(given) + 1):
        due = made["Beginning"](given[:cut], []).due(grammar)
        assert due == grammar.due(torch.tensor([given[:cut]])).item()


@pytest.mark.usefixtures("vllm")
def test_videos_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random_generator().save_pretrained(tmp_path / "generator")
    words = ["--generator", str(tmp_path / "generator"), "--classes", "pong", "boxing", "--output", str(tmp_path / "o")]
    monkeypatch.setattr(sys, "argv", ["vllm_sample.py", *words])
    runpy.run_path(str(ROOT / "examples/vllm_sample.py"), run_name="__main__")
    assert read_video(tmp_path / "o/pong.mp4").frames.shape == read_video(tmp_path / "o/boxing.mp4").frames.shape


@pytest.mark.usefixtures("vllm")
def test_two_samplers_agree_up_to_the_first_other_code() -> None:
    compared = runpy.run_module("benchmarks.vllm_engine")["agreement"]
    generator = random_generator(clips=2)
    short, long = generator.grammar.vocabulary.levels[:2]
    lengths, codes = (short, long) * 4, 4 * (short + long)
    ours = generator.sample(["pong", "boxing", None], assignment=lengths, progress=False)
    ids = ours.ids.split(codes)
    theirs = [Parsed(0, lengths, each.clone()) for each in ids]
    every = {"videos": 3, "codes": 3 * codes}
    assert compared(ours, theirs) == {**every, "equal": 3, "equal up to the first other": 3 * codes}
    theirs[1].ids[short] += 1
    theirs[2] = Parsed(0, (*lengths[:-1], short), ids[2][: codes - long + short])
    before = codes + short + codes - long + short
    assert compared(ours, theirs) == {**every, "equal": 1, "equal up to the first other": before}

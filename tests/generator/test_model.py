"""A generator on disk and as users hold it, and its Llama in the hands of transformers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaForCausalLM, LogitsProcessorList
from transformers.generation.continuous_batching.cb_logits_processors import ContinuousBatchingLogitsProcessorList

from evatok.generator.config import GENERATOR_PRESETS, GeneratorConfig, GeneratorSize
from evatok.generator.logits import GrammarLogitsProcessor
from evatok.generator.model import VideoGenerator
from evatok.tokenizer.model import VideoTokenizer
from evatok.utils import saving
from evatok.utils.saving import CheckpointError
from tests.conftest import SKETCHED, random_tokenizer
from tests.generator.conftest import random_generator


def test_what_is_saved_is_loaded(generator: VideoGenerator, tmp_path: Path) -> None:
    generator.save_pretrained(tmp_path / "pong")
    loaded = VideoGenerator.from_pretrained(tmp_path / "pong")
    assert loaded.config == generator.config and loaded.name == "pong" and not loaded.model.training
    assert loaded.checksum == generator.checksum and len(loaded.checksum) == 16
    assert loaded.tokenizer is not None and loaded.tokenizer.token_format == generator.config.tokens
    made, again = (each.generate(["pong", None], seed=1) for each in (generator, loaded))
    assert made.tokens == again.tokens and torch.equal(made.videos, again.videos)
    generator.save_pretrained(tmp_path / "pong")  # over itself
    assert VideoGenerator.from_pretrained(tmp_path / "pong").checksum == generator.checksum


def test_the_folder_is_one_of_transformers(generator: VideoGenerator, tmp_path: Path) -> None:
    generator.save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokens = torch.randint(70, (2, 30), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model(tokens).logits, generator.model(tokens).logits, atol=0, rtol=0)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]


def dtypes(folder: Path) -> set[torch.dtype]:
    return {each.dtype for each in load_file(folder / "model.safetensors").values()}


def test_half_precision_on_disk(generator: VideoGenerator, tmp_path: Path) -> None:
    """The Llama's numbers are rounded; a tokenizer's only where they stay what they are."""
    generator.save_pretrained(tmp_path / "whole", torch.float16)
    assert {each.dtype for each in load_file(tmp_path / "whole/model.safetensors").values()} == {torch.float16}
    assert {each.dtype for each in load_file(tmp_path / "whole/tokenizer/model.safetensors").values()} == {
        torch.float32
    }
    loaded = VideoGenerator.from_pretrained(tmp_path / "whole")
    assert loaded.dtype == torch.float32 and loaded.checksum != generator.checksum
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "whole").dtype == torch.float16

    tokenizer = random_tokenizer(SKETCHED).half().float()
    config = replace(generator.config, tokens=tokenizer.token_format)
    VideoGenerator(config, tokenizer=tokenizer).save_pretrained(tmp_path / "half", torch.float16)
    assert dtypes(tmp_path / "half/tokenizer") == {torch.float16}
    assert VideoGenerator.from_pretrained(tmp_path / "half").tokenizer is not None


def test_without_a_tokenizer_there_are_tokens(generator: VideoGenerator, tmp_path: Path) -> None:
    generator.save_pretrained(tmp_path)
    VideoGenerator(generator.config, generator.model).save_pretrained(tmp_path)  # what was there goes
    bare = VideoGenerator.from_pretrained(tmp_path)
    assert bare.tokenizer is None and bare.sample(["pong"]) == generator.sample(["pong"])
    with pytest.raises(ValueError, match="the generator has no tokenizer to make videos with"):
        bare.generate(["pong"])
    with pytest.raises(ValueError, match="the generator has no tokenizer to encode frames with"):
        bare.sample(frames=torch.zeros(1, 4, 3, 32, 32))


def test_another_tokenizer_is_refused(generator: VideoGenerator, tmp_path: Path) -> None:
    other = random_tokenizer(SKETCHED)
    with pytest.raises(ValueError, match=f"writes tokens of unnamed .*, not of unnamed \\({other.checksum}\\)"):
        VideoGenerator(generator.config, tokenizer=other)
    generator.save_pretrained(tmp_path)
    other.save_pretrained(tmp_path / "tokenizer")
    with pytest.raises(CheckpointError, match=f"{tmp_path}: the generator writes tokens of"):
        VideoGenerator.from_pretrained(tmp_path)


def change(path: Path, keys: str, value: Any) -> None:
    entries = json.loads(path.read_text())
    *outer, last = keys.split(".")
    inner = entries
    for key in outer:
        inner = inner[key]
    inner[last] = value
    path.write_text(json.dumps(entries))


@pytest.mark.parametrize(
    ("file", "keys", "value", "said"),
    [
        ("generator.json", "kind", "evatok.Router", "is no generator's config: its kind is 'evatok.Router'"),
        ("generator.json", "format", 2, "has format 2; this version of evatok reads format 1"),
        ("generator.json", "config.clips", 0, "does not fit: clips must be at least 1, got 0"),
        (
            "generator.json",
            "config.clips",
            2,
            "config.json does not fit generator.json: max_position_embeddings is 38",
        ),
        ("generator.json", "config.size.width", 96, "config.json does not fit .*: hidden_size is 64, not 96"),
        ("generator.json", "config.size.width", 63, "width must be an even multiple of heads, got 63 and 4"),
        ("generator.json", "config.size.depth", 10**12, "depth must be at most 1000"),
        ("generator.json", "config.size.beads", 4, "GeneratorSize does not know beads"),
        ("generator.json", "config.classes", ["pong", "pong"], "classes differ in name; pong came more than once"),
        ("generator.json", "config.classes", ["pong", 3], "classes must be str, got 3"),
        ("generator.json", "config.picture", [32], "2 values are needed"),
        ("generator.json", "config.picture", [0, 32], "a side of size is 0"),
        ("generator.json", "config.fps", -1.0, "fps is -1.0; it must be above 0"),
        ("generator.json", "config.tokens.levels", [8, 4], "levels"),
        ("generator.json", "config.tokens.checksum", "0", r"the generator writes tokens of unnamed \(0\)"),
        ("config.json", "vocab_size", 71, "config.json does not fit generator.json: vocab_size is 71, not 70"),
        ("config.json", "model_type", "gpt2", "model_type is 'gpt2', not 'llama'"),
        ("config.json", "rope_parameters", {}, "rope_parameters is {}"),
    ],
)
def test_what_does_not_fit_is_said(
    generator: VideoGenerator, tmp_path: Path, file: str, keys: str, value: Any, said: str
) -> None:
    generator.save_pretrained(tmp_path)
    change(tmp_path / file, keys, value)
    with pytest.raises(CheckpointError, match=said) as caught:
        VideoGenerator.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["generator.json", "config.json", "model.safetensors", "tokenizer/model.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"\x80\x04 pickle", b"{" * 9999])
def test_files_that_are_none(generator: VideoGenerator, tmp_path: Path, file: str, content: bytes | None) -> None:
    generator.save_pretrained(tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=str(tmp_path / file)):
        VideoGenerator.from_pretrained(tmp_path)


def test_weights_that_do_not_fit(generator: VideoGenerator, tmp_path: Path) -> None:
    generator.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    head = weights.pop("lm_head.weight")
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"does not fit its config: missing \['lm_head.weight'\]"):
        VideoGenerator.from_pretrained(tmp_path)
    save_file(weights | {"lm_head.weight": head.fill_(torch.nan)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"weights that are not finite: \['lm_head.weight'\]"):
        VideoGenerator.from_pretrained(tmp_path)


def test_a_name_that_is_none_is_told(generator: VideoGenerator) -> None:
    with pytest.raises(CheckpointError, match="nowhere is no folder and no shipped generator"):
        VideoGenerator.from_pretrained("nowhere")
    with pytest.raises(CheckpointError, match="no folder and no shipped generator"):
        VideoGenerator.from_pretrained("evatok-tiny-proxy")  # a tokenizer
    odd = replace(generator.config, size=GeneratorSize(32, 2, 4))
    with pytest.raises(ValueError, match="the model does not fit the generator's config: hidden_size is 64, not 32"):
        VideoGenerator(odd, generator.model)


def test_a_shipped_one_is_found_by_its_name(
    generator: VideoGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator.save_pretrained(tmp_path / "evatok-some-generator")
    monkeypatch.setattr(saving, "_shipped", lambda: tmp_path)
    assert VideoGenerator.KIND.shipped == ("evatok-some-generator",) and VideoTokenizer.KIND.shipped == ()
    assert VideoGenerator.from_pretrained("evatok-some-generator").name == "evatok-some-generator"
    with pytest.raises(CheckpointError, match="no shipped generator; shipped are: evatok-some-generator"):
        VideoGenerator.from_pretrained("another")


def test_a_generator_without_a_tokenizer_takes_the_shipped_one_that_made_its_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "_shipped", lambda: tmp_path)
    tokenizer = random_tokenizer(SKETCHED)
    tokenizer.save_pretrained(tmp_path / "evatok-some")
    tokenizer = VideoTokenizer.from_pretrained("evatok-some")
    for tokens, found in (
        (tokenizer.token_format, True),
        (replace(tokenizer.token_format, checksum="of before"), False),
        (replace(tokenizer.token_format, model="evatok-other"), False),
    ):
        config = replace(random_generator().config, tokens=tokens)
        VideoGenerator(config).save_pretrained(tmp_path / "generator")
        assert (VideoGenerator.from_pretrained(tmp_path / "generator").tokenizer is not None) == found


def test_a_saved_tokenizer_that_ships_has_its_name_though_its_ids_are_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "_shipped", lambda: tmp_path)
    for seed, name in enumerate(("evatok-some", "another")):
        torch.manual_seed(seed)
        VideoTokenizer(replace(SKETCHED, ids_of="0123456789abcdef")).save_pretrained(tmp_path / name)
    shipped = VideoTokenizer.from_pretrained("evatok-some")
    config = replace(random_generator().config, tokens=shipped.token_format)
    for tokenizer, name in (
        (shipped, "evatok-some"),
        (VideoTokenizer.from_pretrained(tmp_path / "another"), "generator/tokenizer"),
    ):
        VideoGenerator(config, tokenizer=tokenizer).save_pretrained(tmp_path / "generator")
        loaded = VideoGenerator.from_pretrained(tmp_path / "generator").tokenizer
        assert loaded is not None and (loaded.name, loaded.checksum) == (name, tokenizer.checksum)


def test_a_hub_is_asked_for_all_its_files(
    generator: VideoGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def download(name: str, **how: Any) -> str:
        asked[name] = how["allow_patterns"]
        return str(tmp_path)

    generator.save_pretrained(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert VideoGenerator.from_pretrained("somebody/pong").name == "somebody/pong"
    assert asked == {"somebody/pong": ["model.safetensors", "config.json", "generator.json", "tokenizer/*"]}


def test_presets_are_as_large_as_the_papers() -> None:
    """With its vocabulary: 8192 codes, four lengths, 101 classes."""
    form = replace(random_generator().config.tokens, codebook_size=8192, levels=(32, 128, 256, 512))
    classes = tuple(map(str, range(101)))
    for name, millions in (("gpt-b", 99), ("gpt-l", 327), ("gpt-l-plus", 633)):
        config = GeneratorConfig(GENERATOR_PRESETS[name], form, (128, 128), 8.0, classes)
        with torch.device("meta"):
            model = LlamaForCausalLM(config.llama())
        assert round(sum(each.numel() for each in model.parameters()) / 1e6) == pytest.approx(millions, rel=0.03)


def test_videos_of_classes(generator: VideoGenerator) -> None:
    made = generator.generate(["pong", "boxing", None], most_tokens=24)
    assert made.videos.shape == (3, 16, 3, 32, 32) and made.videos.dtype == torch.uint8
    assert len(made.tokens) == 3 and made.tokens.format == generator.config.tokens
    record = made.tokens.videos[0]
    assert record.frames == 16 and record.fps == 8.0 and record.size == (32, 32)
    assert generator.tokenizer is not None
    for number, tokens in enumerate(made.tokens):
        assert torch.equal(generator.tokenizer.decode(tokens)[0], made.videos[number])


def test_lengths_are_counted(generator: VideoGenerator) -> None:
    made = generator.generate([None] * 2, assignment=torch.tensor([[8, 4, 8, 4], [8, 4, 4, 4]]))
    assert made.mean_tokens == 22
    assert made.level_shares.tolist() == [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5], [1.0, 0.0]]


@pytest.mark.parametrize("clips", [1, 2])
@pytest.mark.parametrize("given", [1, 4, 5, 12, 17])
def test_videos_that_begin_with_frames(clips: int, given: int) -> None:
    if given > 12 * clips:
        return
    generator = random_generator(clips)
    assert generator.tokenizer is not None
    source = torch.Generator().manual_seed(1)
    frames = torch.randint(256, (3, given, 3, 32, 32), dtype=torch.uint8, generator=source)
    made = generator.generate(frames=frames, temperature=2.0)
    blocks = -(-given // 4)
    assert made.videos.shape == (3, 16 * clips, 3, 32, 32) and made.tokens.lengths.shape == (3 * clips, 4)
    lengths = made.tokens.lengths.view(3, -1)
    assert lengths[:, :blocks].tolist() == [([8, 4, 4, 4, 4])[:blocks]] * 3
    for number, tokens in enumerate(made.tokens):
        first = frames[number : number + 1, :16]
        ids = generator.tokenizer.encode(first, (8, 4, 4, 4), fit="none").ids
        assert torch.equal(tokens.ids[: len(ids)], ids)
    assert len(set(made.tokens.assignments)) > 1
    # One alone, of floats, with a class, and its first lengths chosen.
    floats = frames[2:].float() / 127.5 - 1
    assert generator.sample(frames=floats, temperature=2.0, first=2) == made.tokens[2]
    free = [4] * blocks + [0] * (generator.grammar.blocks - blocks)
    tokens = generator.sample(["pong"], floats, assignment=free, guidance=2.0)
    assert tokens.lengths.flatten()[:blocks].tolist() == [4] * blocks


def test_transformers_own_sampling_keeps_to_the_grammar(generator: VideoGenerator) -> None:
    vocabulary, grammar = generator.grammar.vocabulary, generator.grammar
    begun = torch.tensor([[vocabulary.end, vocabulary.label(label)] for label in ("pong", "boxing", None)] * 3)
    torch.manual_seed(0)
    written = generator.model.generate(
        begun,
        attention_mask=(begun != vocabulary.end).long(),
        logits_processor=LogitsProcessorList([GrammarLogitsProcessor(grammar)]),
        do_sample=True,
        max_new_tokens=grammar.longest,
    )
    parsed = [grammar.parse(row[1:]) for row in written]
    assert [each.label for each in parsed] == [0, 1, -1] * 3
    assert len({each.lengths for each in parsed}) > 3


def test_continuous_batching_is_refused(generator: VideoGenerator) -> None:
    """As transformers calls it there, with the newest token of each request; it is not dropped in silence either."""
    listed = ContinuousBatchingLogitsProcessorList(
        LogitsProcessorList([GrammarLogitsProcessor(generator.grammar)]), drop_unsupported_processors=True
    )
    newest, scores = torch.LongTensor([1, 2, 3]), torch.zeros(3, len(generator.grammar.vocabulary))
    with pytest.raises(ValueError, match="continuous batching gives the newest tokens alone: use VideoGenerator"):
        listed(newest, scores, torch.empty(0))

"""Commands of the stages, and the check that a machine can train."""

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from evatok.cli.arguments import any_path, parse_config


def proxy(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Train a proxy tokenizer, under uniformly random assignments (stage 1)."""
    from evatok.stages.proxy import ProxyConfig, train_proxy

    _add_resume(parser)
    config, given = parse_config(parser, words, ProxyConfig)
    print(f"The trained tokenizer is in {train_proxy(config, given.resume)}")


def final(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Train a final tokenizer, under the assignments that a router gives (stage 4)."""
    from evatok.stages.final import FinalConfig, train_final

    _add_resume(parser)
    config, given = parse_config(parser, words, FinalConfig)
    print(f"The trained tokenizer is in {train_final(config, given.resume)}")


def router(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Train a router on the tables of searched clips (stage 3)."""
    from evatok.stages.router import RouterTrainingConfig, train_router

    _add_resume(parser)
    config, given = parse_config(parser, words, RouterTrainingConfig)
    print(f"The trained router is in {train_router(config, given.resume)}")


def generator(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Train a generator on token sets (`evatok tokenize` makes them)."""
    from evatok.stages.generator import GeneratorTrainingConfig, train_generator

    _add_resume(parser)
    config, given = parse_config(parser, words, GeneratorTrainingConfig)
    print(f"The trained generator is in {train_generator(config, given.resume)}")


def search(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Measure every clip under every assignment of lengths (stage 2); the same command again goes on."""
    from evatok.stages.search.parts import SearchConfig
    from evatok.stages.search.run import search

    config, _ = parse_config(parser, words, SearchConfig)
    table = search(config)
    print(f"{config.folder}: {len(table)} clips, {len(table.whole)} of them under all {len(table.space)} assignments")


def selfcheck(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Tell a broken setup from hard data: print the setup, learn one clip by heart within minutes."""
    parser.add_argument("--video", type=any_path, help="whose first 16 frames are learned; without it, a made-up clip.")
    given = parser.parse_args(words)
    from evatok.codec.selfcheck import selfcheck, setup

    facts = setup()
    width = max(map(len, facts))
    print("\n".join(f"{name:{width}}  {value}" for name, value in facts.items()), flush=True)
    learned = selfcheck(given.video)
    if not learned.passed:
        raise ValueError(str(learned))
    print(learned)


def _add_resume(parser: ArgumentParser) -> None:
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in `folder`.")

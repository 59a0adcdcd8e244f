"""Commands that judge what has been trained."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from evatok.cli.arguments import any_path, parse_config


def reconstruction(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Measure a tokenizer on held-out clips: PSNR, SSIM, LPIPS, codes used, by source and length; FVD if asked."""
    from evatok.reports.evaluate import EvaluationConfig, evaluate

    config, _ = parse_config(parser, words, EvaluationConfig)
    print(f"The numbers and what made them are in {evaluate(config)}")


def generation(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Measure what a generator makes: FVD, tokens, lengths, time, right classes; the same command again goes on."""
    from evatok.reports.generation import GenerationConfig, evaluate_generation

    config, _ = parse_config(parser, words, GenerationConfig)
    print(f"\nThe numbers and what made them are in {evaluate_generation(config)}; cards and samples beside it")


def prediction(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Measure how a generator goes on with the first frames of real clips; the same command again goes on."""
    from evatok.reports.prediction import PredictionConfig, evaluate_prediction

    config, _ = parse_config(parser, words, PredictionConfig)
    print(f"\nThe numbers and what made them are in {evaluate_prediction(config)}; cards beside it")


def results(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Put results side by side in a table; refuses those of different protocols."""
    parser.add_argument("cards", nargs="+", type=any_path, help="files cards.json, each with the cards of one model.")
    parser.add_argument("--columns", nargs="+", default=["fvd", "kvd"], help="numbers to show, such as fvd_infinity.")
    given = parser.parse_args(words)
    from evatok.reports.generated import results_table

    print(results_table(given.cards, given.columns))


def curve(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Draw quality over tokens on held-out searched clips: every predictor and rule, and what they save."""
    from evatok.reports.curve import curve
    from evatok.reports.judging import JudgingConfig

    config, _ = parse_config(parser, words, JudgingConfig)
    print(f"\nThe comparisons are in {curve(config)}; operating points and figure beside it")


def router_report(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Tell how good routers are on held-out searched clips: percentile, regret, time, what they confuse."""
    from evatok.reports.router_report import RouterReportConfig, router_report

    config, _ = parse_config(parser, words, RouterReportConfig)
    print(f"\nThe report is in {router_report(config)}")


def card(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Write the model card beside a tokenizer's weights."""
    parser.add_argument("--tokenizer", required=True, help="folder of a tokenizer, with its training.json.")
    parser.add_argument("--evaluation", type=any_path, required=True, help="an evaluation.json of the same weights.")
    given = parser.parse_args(words)
    from evatok.reports.card import write_card

    print(f"The card is {write_card(given.tokenizer, given.evaluation)}")


def report(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Put all that a folder holds on one page: trainings, searches, evaluations, curves, cards."""
    what = "a run's, a search's, an evaluation's, or one that holds several of these."
    parser.add_argument("folder", type=any_path, help=what)
    parser.add_argument("-o", "--output", type=any_path, default=Path("report.html"), help="the HTML file.")
    given = parser.parse_args(words)
    from evatok.reports.run.report import write_report

    sections = write_report(given.folder, given.output)
    print(f"{given.output}: {sections} {'section' if sections == 1 else 'sections'}")

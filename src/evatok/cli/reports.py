"""Commands that judge what has been trained."""

from jsonargparse import ArgumentParser

from evatok.cli.arguments import Parse, any_path, parse_config


def evaluate(parser: ArgumentParser, parse: Parse) -> None:
    """Measure a tokenizer on held-out clips: PSNR, SSIM, LPIPS, codes used, by source and length."""
    from evatok.reports.evaluate import EvaluationConfig, evaluate

    config, _ = parse_config(parser, parse, EvaluationConfig)
    print(f"The numbers and what made them are in {evaluate(config)}")


def curve(parser: ArgumentParser, parse: Parse) -> None:
    """Draw quality over tokens on held-out searched clips: every predictor and rule, and what they save."""
    from evatok.reports.curve import curve
    from evatok.reports.judging import JudgingConfig

    config, _ = parse_config(parser, parse, JudgingConfig)
    print(f"\nThe comparisons are in {curve(config)}; operating points and figure beside it")


def router_report(parser: ArgumentParser, parse: Parse) -> None:
    """Tell how good routers are on held-out searched clips: percentile, regret, time, what they confuse."""
    from evatok.reports.router_report import RouterReportConfig, router_report

    config, _ = parse_config(parser, parse, RouterReportConfig)
    print(f"\nThe report is in {router_report(config)}")


def card(parser: ArgumentParser, parse: Parse) -> None:
    """Write the model card beside a tokenizer's weights."""
    parser.add_argument("--tokenizer", required=True, help="folder of a tokenizer, with its training.json.")
    parser.add_argument("--evaluation", type=any_path, required=True, help="an evaluation.json of the same weights.")
    given = parse()
    from evatok.reports.card import write_card

    print(f"The card is {write_card(given.tokenizer, given.evaluation)}")

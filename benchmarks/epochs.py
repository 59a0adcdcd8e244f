"""Prints how many steps of a generator's training are so many epochs of a token set, in sequences of one clip.

    python -m benchmarks.epochs runs/games-tokens/train --epochs 5 --batch 4096

It prints the number alone, for a shell to put into another command.
"""

import argparse
from pathlib import Path

from evatok.tokens.token_set import TokenSet


def steps_of(tokens: TokenSet, epochs: float, batch: int) -> int:
    """Steps of `batch` tokens; of each sequence those that another one follows count, so not its end."""
    predicted = len(tokens.ids) + len(tokens) * (tokens.format.clip_blocks + 1)
    return max(1, round(epochs * predicted / batch))


def main() -> None:
    """Reads the set and prints the number alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokens", type=Path, help="folder of a token set")
    parser.add_argument("--epochs", type=float, required=True)
    parser.add_argument("--batch", type=int, required=True, help="tokens of a step")
    given = parser.parse_args()
    print(steps_of(TokenSet.open(given.tokens), given.epochs, given.batch))


if __name__ == "__main__":
    main()

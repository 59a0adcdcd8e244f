"""`evatok` and `python -m evatok`: the command line, which may be interrupted while it is still being imported."""

import sys


def main() -> int:
    """Runs the command line of the process; returns its exit code."""
    try:
        from evatok.cli import main
    except KeyboardInterrupt:
        print("evatok: interrupted", file=sys.stderr)
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(main())

"""`python -m evatok`: the command line."""

import sys

from evatok.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""``python -m evosearch`` is the command ``evosearch``."""

import sys

from evosearch.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m hmr4d`: the same as `hmr4d`."""

import sys

from hmr4d.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

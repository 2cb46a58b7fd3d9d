"""Saved motions in the browser: python tools/view.py outputs/first."""

import sys

from hmr4d.cli.view import main

if __name__ == "__main__":
    sys.exit(main())

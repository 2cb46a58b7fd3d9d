"""The same as `hmr4d critic`; `python tools/critic.py --help` says what it does."""

import sys

from hmr4d.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["critic", *sys.argv[1:]]))

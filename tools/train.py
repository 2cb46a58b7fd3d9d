"""Trains, tests and generates: python tools/train.py exp=<group>/<name> [global/task=<...>] [key=value ...]."""

from hmr4d.cli.train import main

if __name__ == "__main__":
    main()

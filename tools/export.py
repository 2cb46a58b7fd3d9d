"""Motion files in other formats: python tools/export.py outputs/first/000_a_person_walks_forward.npz --to bvh,csv."""

import sys

from hmr4d.cli.export import main

if __name__ == "__main__":
    sys.exit(main())

"""Licensed body models from .pkl to .npz: `python tools/convert_body_model.py --help`."""

from hmr4d.cli.convert_body_model import main

if __name__ == "__main__":
    raise SystemExit(main())

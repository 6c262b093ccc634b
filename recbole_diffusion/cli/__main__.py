"""``python -m recbole_diffusion.cli``: as ``python -m recbole_diffusion``."""

import sys

from recbole_diffusion.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

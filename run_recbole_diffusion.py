"""Train and test a model: ``python run_recbole_diffusion.py --model=ICDDT --dataset=retail``.

The same as ``recbole-diffusion run``. Without arguments: ICDDT on ml-100k.
"""

import sys

from recbole_diffusion.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))

"""How fast are the models here beside the same mathematics written plainly, or beside RecBole's?

    python benchmarks/speed.py all
    python benchmarks/speed.py icddt --dataset jd
    python benchmarks/speed.py diffrec
    python benchmarks/speed.py dreamrec
    python benchmarks/speed.py profile
    python benchmarks/speed.py attention
    python benchmarks/speed.py sasrec

Everything of a command is measured in one run, so that its ratios can be compared.
"""

import argparse

import speed_attention
import speed_diffrec
import speed_dreamrec
import speed_icddt
import speed_profile
import speed_sasrec
import speed_table

MEASUREMENTS = {
    "all": speed_table,
    "icddt": speed_icddt,
    "diffrec": speed_diffrec,
    "dreamrec": speed_dreamrec,
    "sasrec": speed_sasrec,
    "profile": speed_profile,
    "attention": speed_attention,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in MEASUREMENTS.items():
        command = commands.add_parser(name, help=module.__doc__.splitlines()[0])
        command.add_argument("--data_path", default="dataset")
        module.add_options(command)
    arguments = parser.parse_args()
    MEASUREMENTS[arguments.command].measure(arguments)


if __name__ == "__main__":
    main()

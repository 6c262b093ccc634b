"""``recbole-diffusion models``: which models there are."""

import textwrap

from recbole_diffusion.cli.parsing import OneLineParser

WIDTH = 100  # characters a line


def parser():
    """The options of ``recbole-diffusion models`` (OneLineParser)."""
    return OneLineParser(
        prog="recbole-diffusion models",
        examples=["models"],
        description="every model that can be run: what it does and what it reads",
    )


def models(arguments):
    """``recbole-diffusion models``: every model that can be run.

    Args:
        arguments (list of str): what ``--help`` names.

    Returns:
        int: exit code.
    """
    parser().parse_args(arguments)
    from recbole_diffusion.config import listing

    for model in listing.models():
        print(f"{model.name} ({model.kind})")
        for words in (model.about, f"Reads {model.needs}."):
            print(textwrap.fill(words, WIDTH, initial_indent="  ", subsequent_indent="  "))
    for kind, names in listing.host_models().items():
        print(f"\nRecBole's {kind} models")
        print(textwrap.fill(", ".join(names), WIDTH, initial_indent="  ", subsequent_indent="  "))
    print(
        "\n`recbole-diffusion settings MODEL` lists the settings of one; where both have a name, "
        "recbole:NAME is RecBole's.\nA class of your own is --model=my_module:MyModel."
    )
    return 0

"""``recbole-diffusion settings``: what can be set of a model."""

import itertools
import textwrap

from recbole_diffusion.cli.parsing import OneLineParser, one_line

WIDTH = 100  # characters a line


def parser():
    """The options of ``recbole-diffusion settings`` (OneLineParser)."""
    made = OneLineParser(
        prog="recbole-diffusion settings",
        examples=["settings DreamRec --dataset=zhihu", "settings ICDDT --key=steps"],
        description="every setting of a model: its default, the values it may have, what it does, "
        "and the file that sets it, those nearest to the model first",
    )
    add = made.add_argument
    add("model", help="ICDDT, SASRec, recbole:DiffRec, my_module:MyModel, ...")
    add("--dataset", help="the settings of this data set, and of the model on it, count too")
    add("--key", metavar="TEXT", help="only settings whose name holds this text")
    return made


def settings(arguments):
    """``recbole-diffusion settings``: every setting of a model.

    Args:
        arguments (list of str): a model, and what ``--help`` names.

    Returns:
        int: exit code.
    """
    options = parser().parse_args(arguments)
    from recbole_diffusion.config.foreign import vouch
    from recbole_diffusion.config.listing import settings_of

    vouch(f"--model={options.model}")
    found = [
        setting
        for setting in settings_of(options.model, options.dataset)
        if (options.key or "").lower() in setting.key.lower()
    ]
    if not found:
        raise ValueError(f"no setting of {options.model} has '{options.key}' in its name")
    for source, group in itertools.groupby(found, key=lambda setting: setting.source):
        print(f"{source}")
        for setting in group:
            print("\n".join(_lines(setting)))
        print()
    return 0


def _lines(setting):
    """A setting as it is printed: key and default, then kind and sentence."""
    import yaml

    written = yaml.safe_dump(
        setting.value, default_flow_style=True, width=10**6, sort_keys=False
    ).removesuffix("...\n")
    value = "~" if setting.value is None else one_line(written)
    said = [f"({setting.kind})"] if setting.kind else []
    words = " ".join([*said, setting.sentence or ""]).strip()
    first = f"  {setting.key}: {value}" + (
        "  (made out of this and other settings)" if setting.derived else ""
    )
    if not words:
        return [first]
    indent = " " * 6
    return [first, *textwrap.wrap(words, WIDTH, initial_indent=indent, subsequent_indent=indent)]

"""How are settings and options read from a command line, and how is it answered?"""

import argparse
import difflib

EXAMPLES = "examples:"


def parse_settings(arguments):
    """Reads ``--key=value`` and ``--key value`` pairs; a key alone is True.

    Args:
        arguments (list of str): what follows the command.

    Returns:
        dict: key to text, or to True.

    Raises:
        ValueError: on an argument that is not a setting, or on a key given twice.
    """
    settings = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--") or argument[:3] in ("--", "--="):
            raise ValueError(
                f"'{argument}' is not a setting: write --key=value, and --key=\"one two\" where "
                "the value has blanks"
            )
        key, equals, value = argument[2:].partition("=")
        if not equals:
            values = []
            while rest and not rest[0].startswith("--"):
                values.append(rest.pop(0))
            value = " ".join(values) if values else True
        if key in settings:
            raise ValueError(f"--{key} is given twice")
        settings[key] = value
    return settings


def with_verbosity(settings):
    """Reads ``--quiet`` and ``--verbose``, which are short for values of ``verbosity``.

    Args:
        settings (dict): of `parse_settings`.

    Returns:
        dict: without the two, with ``verbosity`` where one was given.

    Raises:
        ValueError: if one of them has a value, or two say how much is shown.
    """
    said = {key: value for key, value in settings.items() if key in ("quiet", "verbose")}
    rest = {key: value for key, value in settings.items() if key not in said}
    for key, value in said.items():
        if value is not True:
            raise ValueError(f"--{key} takes no value")
    both = [f"--{key}" for key in ("quiet", "verbose", "verbosity") if key in settings]
    if said and len(both) > 1:
        raise ValueError(f"{both[0]} and {both[1]} say both how much is shown")
    return rest | ({"verbosity": next(iter(said))} if said else {})


def one_line(text):
    """Text for a terminal: one line, in which nothing moves the cursor or changes colours.

    Args:
        text (str): perhaps with pieces of a user's files and arguments.

    Returns:
        str: without line ends; what cannot be printed is written as an escape.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in " ".join(text.split())
    )


class _KeepLines(argparse.HelpFormatter):
    """Wraps a description and leaves examples as they are."""

    def _fill_text(self, text, width, indent):
        if text.startswith(EXAMPLES):
            return text
        return super()._fill_text(text, width, indent)


class OneLineParser(argparse.ArgumentParser):
    """A parser whose refusals are said as every other one, in one line.

    Args:
        examples (list of str): commands, shown below the options.
        **options: of ``argparse.ArgumentParser``.
    """

    def __init__(self, examples=(), **options):
        options = {"formatter_class": _KeepLines, "allow_abbrev": False} | options
        super().__init__(**options)
        if examples:
            lines = [f"  recbole-diffusion {example}" for example in examples]
            self.epilog = "\n".join([EXAMPLES, *lines])

    def parse_args(self, args=None, namespace=None):
        for word in args or ():  # before what is required and is missing, perhaps by the same slip
            name = word.partition("=")[0]
            if name.startswith("--") and name not in self._option_string_actions:
                near = difflib.get_close_matches(
                    name, self._option_string_actions, n=1, cutoff=0.75
                )
                if near:
                    raise ValueError(f"there is no option {name}; did you mean {near[0]}?")
        return super().parse_args(args, namespace)

    def error(self, message):
        raise ValueError(message)

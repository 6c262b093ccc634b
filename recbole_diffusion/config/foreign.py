"""Which classes outside the package may be imported? Those that a person named, not a file.

Importing a module runs its code. What is named on the command line or in Python is taken; a name
that only stands in a file of settings is not, unless its module is imported already or a package
was installed for it.
"""

import os
import re
import sys
from importlib.metadata import entry_points

GROUP = "recbole_diffusion.models"  # of entry points
# Processes of a benchmark and of a search are told by their environment.
NAMED = "RECBOLE_DIFFUSION_CLASSES"
_CLASS = re.compile(r"[\w.]+:\w+")
_OURS = ("recbole.", "recbole_diffusion.")


def vouch(*texts):
    """Takes every ``module:Class`` in some texts for named by a person, in this process.

    Args:
        *texts: of a command line, or what a Python program gives; None is none.
    """
    found = set(os.environ.get(NAMED, "").split())
    for text in texts:
        found.update(_CLASS.findall(str(text)))
    os.environ[NAMED] = " ".join(sorted(found))


def refuse_unnamed(name, where, option="model"):
    """Refuses to import a class that only a file names.

    Args:
        name (str): of a model; only ``module:Class`` can be refused.
        where (str): where the name stands, for the message.
        option (str): of the command line that names classes.

    Raises:
        ConfigError: with what to type.
    """
    module, colon, _ = str(name).partition(":")
    if not colon or module.lower() == "recbole" or module.startswith(_OURS):
        return
    named = {one.partition(":")[0] for one in os.environ.get(NAMED, "").split()}
    if module in named or module in sys.modules:
        return
    if any(point.value == name for point in entry_points(group=GROUP)):
        return
    from recbole_diffusion.config.values import ConfigError  # `doctor` runs without its libraries

    raise ConfigError(
        f"{where} names the class {name}, and importing it would run the code of {module}: if you "
        f"trust it, name it on the command line, --{option}={name}, or import it first"
    )

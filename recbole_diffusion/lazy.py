"""How does a folder show names of its files without importing them?"""

from importlib import import_module


def lazily(package, **files):
    """Makes a ``__getattr__`` of a package that imports a file when a name of it is asked for.

    Args:
        package (str): the package's ``__name__``.
        **files (str): name to the file of the package that has it.

    Returns:
        Callable: from a name to its value; raises AttributeError for any other name.
    """

    def attribute(name):
        if name not in files:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{files[name]}"), name)

    return attribute

"""Where does RecBole run what a file says? Each such place is shut when its class is used.

Line numbers are those of RecBole 1.2.1. Nothing is imported here: a place is in the file of a model
class, which is shut as soon as the class is found.
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import NamedTuple

_CONTEXT = "recbole.model.context_aware_recommender."
_GENERAL = "recbole.model.general_recommender."
_SEQUENTIAL = "recbole.model.sequential_recommender."


class Door(NamedTuple):
    """One place of RecBole.

    Attributes:
        module (str): RecBole's module.
        where (str): its file and line.
        what (str): what would run code, and which setting or file leads there.
        shut (Callable): shuts it, in this process; takes the module.
    """

    module: str
    where: str
    what: str
    shut: Callable


class _Instead:
    """A library as a module of RecBole sees it, with one function that is another."""

    def __init__(self, library, **functions):
        self._library = library
        vars(self).update(functions)

    def __getattr__(self, name):
        return getattr(self._library, name)


def _load_weights(module):
    load = module.torch.load

    @wraps(load)
    def weights_only(file, *args, **kwargs):
        try:
            return load(file, *args, **kwargs | {"weights_only": True})
        except OSError:
            raise
        except Exception as error:
            raise ValueError(
                f"{file} is not a file of weights (pickles are not read, because they can run "
                f"code): {(str(error) or repr(error)).splitlines()[0]}"
            ) from error

    module.torch = _Instead(module.torch, load=weights_only)


def _load_numbers(module):
    load = module.np.load

    @wraps(load)
    def without_pickles(file, *args, **kwargs):
        try:
            return load(file, *args, **kwargs | {"allow_pickle": False})
        except (ValueError, EOFError) as error:
            raise ValueError(
                f"{file} is not a file of numbers (pickles are not read, because they can run "
                f"code): {error}"
            ) from error

    module.np = _Instead(module.np, load=without_pickles)


def _name_teacher(module):
    def teacher(name):
        found = vars(module).get(name)
        if not hasattr(found, "FeatureInteraction") or found is module.KD_DAGFM:
            known = ["CIN", "CrossNet", "DAGFM"]
            raise ValueError(f"teacher is {name!r}, not one of {', '.join(known)}")
        return found

    module.eval = teacher  # what the module calls by that name
    _load_weights(module)


DOORS = (
    Door(
        _CONTEXT + "kd_dagfm",
        "model/context_aware_recommender/kd_dagfm.py:44,56",
        "`teacher` is evaluated as Python; `warm_up` names a file for torch.load",
        _name_teacher,
    ),
    Door(
        _GENERAL + "ldiffrec",
        "model/general_recommender/ldiffrec.py:231",
        "with `n_cate` above 1, item_emb.npy of the data set's folder is unpickled",
        _load_numbers,
    ),
    *(
        Door(module, where, f"{settings} names a file for torch.load", _load_weights)
        for module, where, settings in (
            (
                _GENERAL + "convncf",
                "model/general_recommender/convncf.py:81",
                "`pre_model_path`",
            ),
            (_GENERAL + "nais", "model/general_recommender/nais.py:127", "`pretrain_path`"),
            (_GENERAL + "ract", "model/general_recommender/ract.py:74,83", "`pre_model_path`"),
            (
                _GENERAL + "neumf",
                "model/general_recommender/neumf.py:83,84",
                "`mf_pretrain_path` or `mlp_pretrain_path`",
            ),
            (
                _SEQUENTIAL + "s3rec",
                "model/sequential_recommender/s3rec.py:120",
                "`pre_model_path`",
            ),
        )
    ),
)
already_shut = set()


def shut(model_class):
    """Shuts the doors in the files of a model class and its bases.

    Args:
        model_class (type): RecBole's, or one that derives from RecBole's.

    Returns:
        type: the class.
    """
    modules = {base.__module__ for base in model_class.__mro__}
    for door in DOORS:
        if door.module in modules and door.module not in already_shut:
            door.shut(sys.modules[door.module])
            already_shut.add(door.module)
    return model_class

"""Which class does a name mean? Ours first, else RecBole's; ``recbole:NAME`` forces RecBole's."""

import difflib
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import sys
from functools import lru_cache

from recbole.utils import ModelType
from recbole.utils import get_model as get_host_model

from recbole_diffusion import compat, doors
from recbole_diffusion.config import traits
from recbole_diffusion.config.foreign import GROUP
from recbole_diffusion.config.host_names import host_names, plain

# Our models: name -> module below recbole_diffusion.model
MODELS = {
    "ICDDT": "sequential_recommender.icddt",
    "MarkovChain": "sequential_recommender.markovchain",
    "DreamRec": "sequential_recommender.dreamrec",
    "DimeRec": "sequential_recommender.dimerec",
    "DiffuRec": "sequential_recommender.diffurec",
    "SASRec": "sequential_recommender.sasrec",
    "GRU4Rec": "sequential_recommender.gru4rec",
    "DiffRec": "general_recommender.diffrec",
    "LDiffRec": "general_recommender.ldiffrec",
    "TDiffRec": "general_recommender.tdiffrec",
    "LTDiffRec": "general_recommender.ltdiffrec",
}
newcomers = []  # classes of other packages and modules that were resolved so far
DECISION_TREES = ("XGBoost", "LightGBM")
# Names of papers and other libraries -> the name here
ALIASES = {"multvae": "MultiVAE", "mostpop": "Pop", "knn": "ItemKNN"}


entry_points = lru_cache(importlib.metadata.entry_points)  # it reads a file a package


def resolve(name):
    """Finds the model class of a name as people type it.

    Args:
        name (str): ``ICDDT``, ``icddt``, ``MultVAE``, ``recbole:DiffRec``, ``my_module:MyModel``,
            or the name that another installed package gives a model (an entry point of the group
            ``recbole_diffusion.models``).

    Returns:
        tuple: the canonical name (str) and the class.

    Raises:
        ValueError: if nothing has that name; the message names the nearest ones.
    """
    if name.lower().startswith("recbole:"):
        host = host_names()
        wanted = name.split(":", 1)[1]
        canonical = host.get(plain(wanted))
        if canonical is None:
            raise ValueError(_unknown(wanted, host.values()))
        return canonical, _host_class(canonical)
    if ":" in name:
        module, class_name = name.split(":", 1)
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        try:
            return class_name, check_class(getattr(importlib.import_module(module), class_name))
        except (ImportError, AttributeError) as error:
            raise ValueError(f"--model={name}: {error}") from error
    ours = {plain(known): known for known in MODELS}
    wanted = plain(ALIASES.get(plain(name), name))
    if wanted in ours:
        return ours[wanted], _our_class(ours[wanted])
    others = {plain(point.name): point for point in installed()}
    if wanted in others:
        model_class = _load(others[wanted])
        return model_class.__name__, model_class
    host = host_names()
    if wanted in host:
        return host[wanted], _host_class(host[wanted])
    names = [point.name for point in others.values()]
    raise ValueError(_unknown(name, [*MODELS, *names, *host.values()]))


def installed():
    """Models of other installed packages, by entry point.

    Returns:
        importlib.metadata.EntryPoints: a name and ``module:Class`` each; nothing is imported.
    """
    return entry_points(group=GROUP)


def _load(point):
    try:
        return check_class(point.load())
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"the model '{point.name}' of an installed package ({point.value}) cannot be loaded: "
            f"{error}"
        ) from error


def strangers():
    """Model classes that are neither of this package nor RecBole's, as far as they are known.

    Returns:
        list of type: those that were resolved in this process, and those of installed packages that
        can be loaded.
    """
    for point in installed():
        try:
            _load(point)
        except ValueError:
            continue  # who asks for it by name is told
    return list(newcomers)


def refuse_what_does_not_run(name, model_class):
    """Refuses RecBole's models that cannot run here.

    Args:
        name (str): the model's name.
        model_class (type): its class.

    Raises:
        ValueError: with the reason, and what to install if that helps.
    """
    reason = compat.NOT_RUN.get(model_class.type.name.lower())
    if name == "NCL" and not is_ours(model_class) and not importlib.util.find_spec("faiss"):
        reason = compat.NOT_RUN[name]
    if reason:
        raise ValueError(f"{name} does not run here: {reason}")


def _our_class(name):
    return getattr(importlib.import_module(f"recbole_diffusion.model.{MODELS[name]}"), name)


def _host_class(name):
    try:
        return doors.shut(get_host_model(name))
    except ImportError as error:  # of the libraries of decision trees, which have no use here
        reason = compat.NOT_RUN["decisiontree"] if name in DECISION_TREES else error
        raise ValueError(f"{name} does not run here: {reason}") from error


def check_class(model_class):
    """Gives back a recommender's class.

    Raises:
        ValueError: if it is none, or says something of itself that is of a wrong type.
    """
    try:
        kind = model_class.type
    except AttributeError:
        kind = None
    if not isinstance(kind, ModelType):
        raise ValueError(f"{model_class!r} is not a class of a recommender of RecBole's kinds")
    traits.of(model_class)
    if is_ours(model_class) and not is_shipped(model_class) and model_class not in newcomers:
        newcomers.append(model_class)
    return doors.shut(model_class)


def class_named_by(model_class, trait):
    """The class that a trait of a model names.

    Args:
        model_class (type): the model's class.
        trait (str): a trait whose value is ``module:Class``.

    Returns:
        type: the class; None where the model names none.

    Raises:
        ValueError: if there is no such class.
    """
    named = traits.of(model_class)._asdict()[trait]
    if named is None:
        return None
    module, _, name = named.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{model_class.__name__}.{trait} is {named!r}: {error}") from error


def _unknown(name, known):
    newer = {plain(model): model for model in compat.NEW_IN_1_2_1}.get(plain(name))
    if newer is not None and compat.too_new(newer):
        return f"{newer} {compat.too_new(newer)}"
    known = sorted(set(known))
    by_plain = {plain(candidate): candidate for candidate in known}
    near = difflib.get_close_matches(plain(name), by_plain, n=3, cutoff=0.5)
    if near:
        return f"no model is called '{name}'; did you mean {', '.join(by_plain[n] for n in near)}?"
    return (
        f"no model is called '{name}'; ours are {', '.join(MODELS)}, the rest is RecBole's, and a "
        "class of your own is module:Class"
    )


def is_ours(model_class):
    """Whether a model class is not RecBole's own."""
    return not model_class.__module__.startswith("recbole.")


def host_base(model_class):
    """Name of the first RecBole class that a model is or derives from, "" if there is none."""
    return next((cls.__name__ for cls in inspect.getmro(model_class) if not is_ours(cls)), "")


def told(name, model_class):
    """A model's name as it is typed: RecBole's class of a name that is also ours has a prefix.

    Args:
        name (str): the model's name.
        model_class (type): its class.

    Returns:
        str: ``SASRec``, or ``recbole:SASRec``.
    """
    return f"recbole:{name}" if name in MODELS and not is_ours(model_class) else name


def is_shipped(model_class):
    """Whether a model class is part of this package; a user's own is ours but not shipped."""
    return model_class.__module__.startswith("recbole_diffusion.")


def get_model(name):
    """The model class of a name, see `resolve`."""
    return resolve(name)[1]

"""What RecBole 1.2.0 and 1.2.1 need on today's libraries. Nothing else in the package patches.

Each repair is for a symptom, on the libraries that have it; on others it does nothing. Line numbers
are those of RecBole 1.2.1. This file imports RecBole and the libraries only when it is called, so
that `recbole-diffusion doctor` can list the repairs where they are missing.
"""

import importlib
import importlib.metadata
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from functools import lru_cache, wraps
from importlib.metadata import PackageNotFoundError
from typing import NamedTuple

version = lru_cache(importlib.metadata.version)  # every Config asks, and it reads a file

# (message, category): warnings of RecBole that tell a user nothing
_NOISE = [
    # recbole/trainer/trainer.py: amp.GradScaler(enabled=...) on torch >= 2.4
    (r"`torch.cuda.amp.GradScaler", FutureWarning),
    # lightgcn.py:124 and other graph models: torch.sparse.FloatTensor(...)
    (r"torch.sparse.SparseTensor", UserWarning),
    # dataset.py:648: feat[field].fillna(inplace=True); pandas 2 says that pandas 3 ignores it, and
    # pandas 3 that it did: `fill_gaps` has filled the column before
    (r"A value is (trying to be|being) set on a copy", Warning),
    # recbole/data/interaction.py: np.argsort of a tensor on numpy 1.26 and 2
    (r"__array_wrap__ must accept", DeprecationWarning),
    # torch's loader asks for writable arrays: harmless here
    (r"The given NumPy array is not writable", UserWarning),
]

_NUMPY_NAMES = {
    "bool": "bool_", "int": "int_", "float": "float64", "complex": "complex128",
    "object": "object_", "str": "str_", "long": "int_", "unicode": "str_",
}  # fmt: skip

_LEN = len


class Repair(NamedTuple):
    """One place of RecBole and what is done there.

    Attributes:
        name (str): what the repair does.
        symptom (str): what happens without it.
        where (str): RecBole's file and line.
        needed (Callable): whether the installed libraries have the symptom.
        apply (Callable): patches RecBole or the library, in this process.
    """

    name: str
    symptom: str
    where: str
    needed: Callable
    apply: Callable


def _release(package):
    """The first two numbers of an installed version, (0, 0) if it is not installed."""
    try:
        numbers = version(package).split(".")[:2]
        return tuple(int(number) for number in numbers)
    except (PackageNotFoundError, ValueError):
        return 0, 0


# ------------------------------------------------------------------ numpy
def _numpy_2():
    return _release("numpy") >= (2, 0)


def _name_types():
    import numpy as np
    from recbole.config import Config

    for name, meaning in _NUMPY_NAMES.items():
        if name not in vars(np):
            setattr(np, name, getattr(np, meaning))
    Config.compatibility_settings = lambda self: None


# ------------------------------------------------------------------ scipy
def _scipy_without_update():
    return _release("scipy") >= (1, 13)


def _update_dok():
    from scipy.sparse import dok_matrix

    def _update(self, values):
        """Takes values as scipy < 1.13 did, {(row, column): value}."""
        rows, columns = zip(*values)
        self[list(rows), list(columns)] = list(values.values())

    dok_matrix._update = _update


# ------------------------------------------------------------------ pandas
def _pandas_3():
    return _release("pandas") >= (3, 0)


def _fill_gaps():
    from recbole.data.dataset import Dataset
    from recbole.utils.enum_type import FeatureType

    original = Dataset._fill_nan

    @wraps(original)
    def _fill_nan(self):
        for name in self.feat_name_list:
            table = getattr(self, name)
            for field in table:
                kind = self.field2type[field]
                if kind == FeatureType.TOKEN:
                    table[field] = table[field].fillna(0)
                elif kind == FeatureType.FLOAT:
                    table[field] = table[field].fillna(table[field].mean())
        original(self)

    Dataset._fill_nan = _fill_nan


class _PandasWithTexts:
    """pandas, whose ``read_csv`` reads an empty cell of a ``*_seq`` column as an empty text."""

    def __init__(self, pandas):
        self._pandas = pandas

    def __getattr__(self, name):
        return getattr(self._pandas, name)

    def read_csv(self, *args, **kwargs):
        table = self._pandas.read_csv(*args, **kwargs)
        for column in table:
            if str(column).endswith("_seq"):
                table[column] = table[column].fillna("")
        return table


def _read_empty_sequences():
    module = importlib.import_module("recbole.data.dataset.dataset")
    module.pd = _PandasWithTexts(module.pd)


def _lengths(value):
    """``len``; of a column of sequences the length of each, as ``column.agg(len)`` gave it."""
    import pandas as pd

    if isinstance(value, pd.Series) and value.dtype == object:
        return value.map(_LEN)
    return _LEN(value)


def _measure_rows():
    for name in ("dataset", "kg_dataset", "sequential_dataset"):
        importlib.import_module(f"recbole.data.dataset.{name}").len = _lengths


# ------------------------------------------------------------------ RecBole 1.2.0
def _recbole_1_2_0():
    try:
        return version("recbole") == "1.2.0"
    except PackageNotFoundError:
        return False


def _end_dropout():
    from recbole.model.general_recommender.ngcf import NGCF
    from recbole.model.sequential_recommender.gru4reckg import GRU4RecKG

    for model, rate in ((NGCF, "message_dropout"), (GRU4RecKG, "dropout")):
        model.forward = _without_dropout_at_evaluation(model.forward, rate)


def _without_dropout_at_evaluation(original, rate):
    """A forward pass for which the attribute ``rate`` is 0 unless the model trains."""

    @wraps(original)
    def forward(self, *args):
        if self.training:
            return original(self, *args)
        kept = getattr(self, rate)
        setattr(self, rate, 0.0)
        try:
            return original(self, *args)
        finally:
            setattr(self, rate, kept)

    return forward


def _allow_no_noise():
    from recbole.model.general_recommender.diffrec import DiffRec

    original = DiffRec.calculate_for_diffusion

    @wraps(original)
    def calculate_for_diffusion(self):
        if self.noise_scale == 0:
            self.reweight = False  # as RecBole 1.2.1: there is nothing to weigh by
        else:
            original(self)

    DiffRec.calculate_for_diffusion = calculate_for_diffusion


def _score_pairs():
    from recbole.model.general_recommender.diffrec import DiffRec
    from recbole.model.general_recommender.ldiffrec import LDiffRec

    for model in (DiffRec, LDiffRec):
        model.predict = _of_pairs(model.predict)


def _of_pairs(original):
    """Scores of user i with item i, out of those of all users with all these items."""

    @wraps(original)
    def predict(self, interaction):
        return original(self, interaction).diagonal()

    return predict


def _always():
    return True


def _train_without_anomaly_detection():
    import torch
    from recbole.model.sequential_recommender import sine  # noqa: F401  (which turns it on)

    torch.autograd.set_detect_anomaly(False)


REPAIRS = (
    Repair(
        "numpy's old type names",
        "AttributeError: `np.float_` was removed in the NumPy 2.0 release",
        "config/configurator.py:625-635; np.float in evaluator/metrics.py:90,128,131,190,196, "
        "data/interaction.py:31 and data/dataset/dataset.py:652",
        _numpy_2,
        _name_types,
    ),
    Repair(
        "dok_matrix._update",
        "AttributeError: 'dok_matrix' object has no attribute '_update'",
        "model/general_recommender/lightgcn.py:111, ngcf.py:110, ncl.py:131, gcmc.py:174, "
        "spectralcf.py:123",
        _scipy_without_update,
        _update_dok,
    ),
    Repair(
        "gaps are filled",
        "silent: missing values of .user and .item files stay NaN (pandas 3)",
        "data/dataset/dataset.py:648,650",
        _pandas_3,
        _fill_gaps,
    ),
    Repair(
        "empty sequences are read",
        "AttributeError: 'float' object has no attribute 'split' (pandas 3)",
        "data/dataset/dataset.py:501",
        _pandas_3,
        _read_empty_sequences,
    ),
    Repair(
        "lengths of rows",
        "ValueError: Length of values (1) does not match length of index; silent in "
        "sequential_dataset.py, where every row gets the length of the table (pandas 3)",
        "data/dataset/dataset.py:712,792,809,1217, kg_dataset.py:316, sequential_dataset.py:165",
        _pandas_3,
        _measure_rows,
    ),
    Repair(
        "no dropout at evaluation",
        "silent: scores of NGCF and GRU4RecKG are random (RecBole 1.2.0)",
        "model/general_recommender/ngcf.py:159, sequential_recommender/gru4reckg.py:82 of 1.2.0",
        _recbole_1_2_0,
        _end_dropout,
    ),
    Repair(
        "DiffRec without noise",
        "AttributeError: 'DiffRec' object has no attribute 'betas' (RecBole 1.2.0)",
        "model/general_recommender/diffrec.py:235 of 1.2.0",
        _recbole_1_2_0,
        _allow_no_noise,
    ),
    Repair(
        "DiffRec and LDiffRec score pairs",
        "a matrix of all pairs in place of a score a pair, in sampled evaluation (RecBole 1.2.0)",
        "model/general_recommender/diffrec.py:328, ldiffrec.py:337 of 1.2.0",
        _recbole_1_2_0,
        _score_pairs,
    ),
    Repair(
        "training without anomaly detection",
        "silent: autograd looks for anomalies in every model's training, which slows it",
        "model/sequential_recommender/sine.py:25, which is imported with any sequential model",
        _always,
        _train_without_anomaly_detection,
    ),
)
_applied = set()

# RecBole's models that do not run here, on any libraries: kind or name, and why.
NOT_RUN = {
    "knowledge": "knowledge-aware models need loaders that only RecBole itself has",
    "decisiontree": "decision trees need a loader and a trainer that only RecBole itself has",
    "NCL": "needs faiss: pip install faiss-cpu",
}
# What RecBole 1.2.0 has not: models, the key of ItemKNN, the split.
NEW_IN_1_2_1 = ("AsymKNN", "SASRecCPR", "GRU4RecCPR", "knn_method", "TS")


def needed():
    """The repairs that the installed libraries ask for.

    Returns:
        list of Repair: in their order; empty where RecBole needs none.
    """
    return [repair for repair in REPAIRS if repair.needed()]


def too_new(name):
    """What to do where a model, key or split is not in the RecBole that is installed.

    Args:
        name (str): its name.

    Returns:
        str: the rest of a sentence; None if it is there or RecBole never had it.
    """
    if name not in NEW_IN_1_2_1 or not _recbole_1_2_0():
        return None
    return (
        "needs RecBole 1.2.1, this is 1.2.0; on Python 3.11 it is installed by "
        'pip install "recbole==1.2.1" (with ray <= 2.6.3, so without tuning)'
    )


def apply():
    """Repairs RecBole in this process, once, and silences its known warnings.

    Every `config.Config` calls it. Never called on import.
    """
    for message, category in _NOISE:
        warnings.filterwarnings("ignore", message=message, category=category)
    for repair in needed():
        if repair.name not in _applied:
            repair.apply()
            _applied.add(repair.name)


@contextmanager
def without_tensorboard():
    """Where no training follows: RecBole's trainers begin a TensorBoard log when they are made."""
    import recbole.trainer.trainer as host

    begin = host.get_tensorboard
    host.get_tensorboard = lambda logger: None
    try:
        yield
    finally:
        host.get_tensorboard = begin

"""Checkpoints of tensors and plain values: written atomically, read without running code.

``last`` is written after every epoch and holds all a run needs to go on; ``best`` is the model with
the best validation score. Both are read with ``weights_only=True``.
"""

import hashlib
import json
import os
import pickle
import zipfile
from logging import getLogger
from pathlib import Path

import numpy as np
import torch
from scipy import sparse

from recbole_diffusion import ranks
from recbole_diffusion.config.keys import of_kind
from recbole_diffusion.data.digest import difference
from recbole_diffusion.trainer.content import digest_of, is_compact
from recbole_diffusion.trainer.fields import RUN, wrong_field
from recbole_diffusion.trainer.writing import reason, replacing

FORMAT = 1
# Settings that earlier versions did not have, and what these did: of all models and of some.
OF_ALL = {"compile": False}
OF_SOME = {
    "ICDDT": {"loss": "full", "n_negatives": 512},
    "DiffuRec": {"loss": "full", "n_negatives": 512},
    "DimeRec": {"loss": "published"},
    "SASRec": {"loss": "full", "n_negatives": 512, "all_positions": False},
    "GRU4Rec": {"loss": "full", "n_negatives": 512, "all_positions": False},
}


class CheckpointError(ValueError):
    """A checkpoint cannot be used here; the message says why."""


def encode(value):
    """Turns arrays, sparse matrices and numpy scalars into tensors and plain values.

    Raises:
        CheckpointError: for a value that is neither (it would need a pickle).
    """
    if isinstance(value, torch.Tensor):
        return value if value.layout != torch.strided or is_compact(value) else value.contiguous()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        try:
            return {"__array__": torch.from_numpy(value.copy())}
        except TypeError as error:  # of objects or of text
            raise CheckpointError(
                f"an array of {value.dtype} cannot be stored in a checkpoint"
            ) from error
    if sparse.issparse(value):
        matrix = value.tocsr()
        parts = [np.asarray(part) for part in (matrix.data, matrix.indices, matrix.indptr)]
        parts = [torch.from_numpy(part) for part in parts]
        return {"__sparse__": parts, "shape": list(map(int, matrix.shape))}
    if isinstance(value, dict):
        return {encode(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):  # a named tuple would come back as code
        return (list if isinstance(value, list) else tuple)(encode(item) for item in value)
    raise CheckpointError(f"a {type(value).__name__} cannot be stored in a checkpoint")


def decode(value):
    """The inverse of `encode`."""
    if isinstance(value, dict):
        if "__array__" in value:
            return value["__array__"].cpu().numpy()
        if "__sparse__" in value:
            data, indices, indptr = (part.cpu().numpy() for part in value["__sparse__"])
            return sparse.csr_matrix((data, indices, indptr), shape=tuple(value["shape"]))
        return {key: decode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(decode(item) for item in value)
    return value


def save(path, state):
    """Writes a checkpoint beside ``path`` and renames it: a kill leaves the old or the new file.

    Of several processes the first one writes, and the others wait.

    Args:
        path (str or Path): the file to write.
        state (dict): what to store.

    Raises:
        CheckpointError: if a value cannot be stored, or the file cannot be written, as on a full
            disk; the old file stays.
    """
    ranks.from_first(lambda: _save(path, state))


def _save(path, state):
    content = encode({"format": FORMAT, **state})
    content["digest"] = digest_of(content)
    try:
        with replacing(Path(path)) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} could not be written: {reason(error)}; what was there before is whole"
        ) from error


def load(path, device="cpu"):
    """Reads a checkpoint without running code from it.

    Of several processes the first one reads, for all: others may be on machines without the file.

    Args:
        path (str or Path): the file.
        device (str or torch.device): where tensors go.

    Returns:
        dict: what `save` was given.

    Raises:
        CheckpointError: if the file is missing, holds code, is damaged, or is none of ours.
    """
    return ranks.from_first(lambda: _load(path, device))


def _load(path, device):
    if not os.path.isfile(path):  # False too for a name that is too long
        raise CheckpointError(f"there is no checkpoint {path}")
    try:
        _refuse_packed(path)
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        why = (str(error) or repr(error)).splitlines()[0]
        if isinstance(error, pickle.UnpicklingError):  # torch's words say how to run the code
            why = "it holds code, or is damaged"
        raise CheckpointError(
            f"{path} is not a checkpoint of tensors and plain values (RecBole's own checkpoints "
            f"are pickles and are not read): {why}"
        ) from error
    form = content.get("format") if isinstance(content, dict) else None
    if type(form) is int and form > FORMAT:
        raise CheckpointError(
            f"{path} was written by a later version: it is of format {form}, and this one reads "
            f"{FORMAT}; update recbole-diffusion"
        )
    if type(form) is not int or form != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of format {FORMAT}")
    stored = content.pop("digest", None)  # none in checkpoints of earlier versions
    try:
        found = digest_of(content, Path(path).stat().st_size)
        state = decode(content)
    except Exception as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    if stored is not None and stored != found:
        raise CheckpointError(
            f"{path} is damaged, or was changed by hand: its content is not what was stored"
        )
    return state


def _refuse_packed(path):
    """Refuses a file that unpacks to more than it is; torch stores without compression."""
    with zipfile.ZipFile(path) as file:
        unpacked = sum(part.file_size for part in file.infolist())
    if unpacked > Path(path).stat().st_size:
        raise ValueError(f"it would unpack to {unpacked} bytes")


def check_fields(state, path, fields):
    """Refuses a checkpoint with a field that is missing or not what it must be.

    Args:
        state (dict): of `load`.
        path (str or Path): the file, for messages.
        fields (dict): of fields.py, ``RUN`` or ``TRAINING``.

    Raises:
        CheckpointError: naming the first such field.
    """
    wrong = wrong_field(state, fields)
    if wrong:
        raise CheckpointError(f"{path} is not the checkpoint of a run: {wrong}")
    if fields is not RUN:
        return
    if fingerprint(state["tokens"]) != state["fingerprint"]:
        raise CheckpointError(f"{path} is damaged: its tokens are not those of its fingerprint")
    settings = json.loads(state["config"])
    for name in "model dataset".split():
        if settings[name] != state[name]:
            raise CheckpointError(
                f"{path} is damaged: its {name} is {state[name]!r}, in its settings "
                f"{settings[name]!r}"
            )


def tokens(dataset):
    """The tokens of users, items and, if the model reads them, behaviours, in order of their ids.

    Returns:
        dict of str to str: one text a field.
    """
    fields = [dataset.uid_field, dataset.iid_field]
    if dataset.config["behavior_input"] and dataset.config["BEHAVIOR_FIELD"] is not None:
        fields.append(dataset.config["BEHAVIOR_FIELD"])
    return {field: "\n".join(map(str, dataset.field2id_token[field])) for field in fields}


def fingerprint(named_tokens):
    """A short hash of the tokens: two data sets with the same one have the same ids."""
    text = "\0".join(named_tokens[field] for field in sorted(named_tokens))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_data(state, dataset, path):
    """Refuses a checkpoint that was trained on other data.

    Checkpoints of earlier versions say nothing of interactions; of those only the tokens are
    compared, with a warning.

    Args:
        state (dict): of `load`.
        dataset (Dataset): the built training data.
        path (str or Path): the file, for messages.

    Raises:
        CheckpointError: with both fingerprints of users, items and behaviours, or with what is
            different about the interactions.
    """
    here = fingerprint(tokens(dataset))
    if state["fingerprint"] != here:
        raise CheckpointError(
            f"{path} was trained on other data: its users, items and behaviours have the "
            f"fingerprint {state['fingerprint']}, those of '{dataset.dataset_name}' here {here}"
        )
    now = getattr(dataset, "interactions", None)
    if now is None:  # built by who calls the trainer directly
        return
    if state.get("interactions") is None:
        getLogger().warning(
            f"{path} does not say on which interactions it was trained: only its users, items and "
            "behaviours are known to be those here"
        )
        return
    differs = difference(state["interactions"], now)
    if differs:
        raise CheckpointError(
            f"{path} was trained on other data than '{dataset.dataset_name}' here: {differs}"
        )


def class_text(model_class):
    """A class as ``module:Class``; text that is never imported."""
    return f"{model_class.__module__}:{model_class.__qualname__}"


def config_text(config):
    """The configuration as JSON text; what is not a plain value is written as text."""
    return json.dumps(config.final_config_dict, default=str, sort_keys=True)


def before(model):
    """Settings of a model that earlier versions did not have, as these were (dict)."""
    return OF_ALL | OF_SOME.get(model, {})


def settings_of_a_run(text, model=None):
    """The settings that decide what is trained, out of a `config_text` of a model.

    Those that are as `before` are not among them, so that a run has its old name.
    """
    without, old = of_kind("not_of_a_run"), before(model)
    return {
        key: value
        for key, value in json.loads(text).items()
        if key not in without and (key not in old or value != old[key])
    }


def check_settings(state, config, path):
    """Refuses to go on with other settings than a run began with.

    Raises:
        CheckpointError: naming the first setting that differs.
    """
    old = before(config["model"])
    then = old | settings_of_a_run(state["config"], config["model"])
    for key, value in (old | settings_of_a_run(config_text(config), config["model"])).items():
        if key in then and then[key] != value:
            raise CheckpointError(
                f"{path} was trained with {key} = {then[key]}, here it is {value}: resume with the "
                "settings of the run, or start a new one"
            )


def run_name(config, as_before=False):
    """Model, data set and a hash of the settings that decide what is trained.

    Args:
        config (Config): the configuration.
        as_before (bool): whether the settings of `before` count as they were then.

    Returns:
        str: the name.
    """
    kept, old = settings_of_a_run(config_text(config), config["model"]), before(config["model"])
    kept = {key: value for key, value in kept.items() if not (as_before and key in old)}
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:10]
    return f"{config['model']}-{config['dataset']}-{digest}"

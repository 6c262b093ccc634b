"""Which settings contradict each other? Refused before data are read, with both by name."""

import difflib
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile

from recbole.utils import ModelType

from recbole_diffusion import compat
from recbole_diffusion.config import traits
from recbole_diffusion.config.keys import of_kind
from recbole_diffusion.config.kinds import shown
from recbole_diffusion.config.values import ConfigError

OF_A_TRANSFORM = {"mask_itemseq": "mask_ratio", "crop_itemseq": "eta", "reorder_itemseq": "beta"}
WITHOUT_K = ("gauc", "auc", "mae", "rmse", "logloss")  # metrics that have one value


def check(config):
    """Refuses settings that cannot stand together.

    Args:
        config (Config): with values of their kinds.

    Raises:
        ConfigError: naming the settings and their values.
    """
    for key in of_kind("pickled"):
        if config.external_config_dict.get(key):
            raise ConfigError(
                f"{key} is not supported: RecBole pickles whole objects there, and loading a "
                "pickle runs whatever code it holds. Keep the atomic files and the "
                "configuration instead; loading them takes seconds"
            )
    for split in config["eval_args"]["split"]:
        if compat.too_new(split):
            raise ConfigError(f"the split {split} {compat.too_new(split)}")
    if config["behavior_from"] is not None and config["BEHAVIOR_FIELD"] is None:
        raise ConfigError("behavior_from is set but BEHAVIOR_FIELD, its name, is not")
    if config["SPLIT"] == "sequence":
        _check_sequences(config)
    _check_columns(config)
    _check_heads(config)
    _check_result_file(config["result_file"])
    _check_checkpoint_dir(config["checkpoint_dir"], config["result_file"])
    if config["measure_energy"] and not find_spec("codecarbon"):
        raise ConfigError(
            'measure_energy needs codecarbon: pip install "recbole-diffusion[energy]"'
        )
    if config["adam_betas"] is not None and "adam" not in config["learner"].lower():
        raise ConfigError(f"adam_betas is set but the learner is {config['learner']}")
    _check_valid_metric(config)
    needed = OF_A_TRANSFORM.get(config["transform"])
    if needed is not None and config[needed] is None:
        raise ConfigError(f"transform is {config['transform']}, which needs {needed}: a share")
    if config["all_positions"] and traits.of(config.model_class).causal:
        _check_all_positions(config)


def _check_all_positions(config):
    """Refuses what belongs to single rows."""
    for key, value in (
        ("transform", config["transform"]),
        ("train_neg_sample_args", config["train_neg_sample_args"].get("dynamic") or None),
    ):
        if value is not None:
            raise ConfigError(
                f"{key} is {config[key]}, which changes or looks at rows one by one, but "
                f"{config.model} trains on all positions of a sequence at once: set "
                "all_positions: False"
            )


def _check_columns(config):
    """Columns of one name would be one column."""
    seen = {}
    for key in of_kind("column"):
        name = config[key]
        if name is not None and seen.setdefault(name, key) != key:
            raise ConfigError(f"{seen[name]} and {key} are both '{name}'")


def _check_heads(config):
    """RecBole's Transformers divide ``hidden_size`` among ``n_heads``; ours look themselves."""
    size, heads = config["hidden_size"], config["n_heads"]
    if type(size) is int and type(heads) is int and size % heads:
        raise ConfigError(
            f"hidden_size {size} cannot be divided among n_heads {heads}; it must be a multiple"
        )


def _check_result_file(file):
    """A result that cannot be written would be lost after training."""
    if file is None:
        return
    try:
        path = Path(file)
        if path.is_dir():
            raise ConfigError(f"result_file {shown(file)} is a folder")
        parent = path.parent
        while not parent.exists() and parent != parent.parent:
            parent = parent.parent  # it is made when the result is written
        with TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise ConfigError(
            f"result_file {shown(file)} cannot be written: {error.strerror}"
        ) from error


def _check_checkpoint_dir(folder, file):
    """A folder that cannot be made would be missed after the first epoch."""
    if file is not None and Path(file) in (Path(folder), *Path(folder).parents):
        raise ConfigError(
            f"result_file {shown(file)} is a folder of checkpoint_dir {shown(folder)}"
        )
    try:
        wrong = [place for place in (Path(folder), *Path(folder).parents) if place.is_file()]
    except OSError as error:
        raise ConfigError(f"checkpoint_dir {shown(folder)}: {error.strerror}") from error
    if wrong:
        raise ConfigError(f"checkpoint_dir {shown(folder)}: {wrong[0]} is a file, not a folder")


def near_metric(metrics):
    """What was meant by names that are no metrics.

    Args:
        metrics (list of str or str): as they were given.

    Returns:
        str: the end of a message; empty where all of them are names.
    """
    from recbole.evaluator.register import metrics_dict

    known = {name: metric.__name__ for name, metric in metrics_dict.items()}
    meant = known | {"hr": "Hit", "hitratio": "Hit"}  # as papers call it
    wrong = [str(one).lower() for one in (metrics if isinstance(metrics, list) else [metrics])]
    wrong = [name for name in wrong if name not in known]
    near = [difflib.get_close_matches(name, meant, n=1) for name in wrong]
    near = ", ".join(dict.fromkeys(meant[found[0]] for found in near if found))
    said = f"; did you mean {near}?" if near else ""
    return f"{said}; there are {', '.join(known.values())}" if wrong else ""


def _check_valid_metric(config):
    metric, at, k = config["valid_metric"].partition("@")
    metrics = [m.lower() for m in config["metrics"]]
    needs_k = metric.lower() not in WITHOUT_K
    fits = k in map(str, config["topk"]) if needs_k else not at
    if metric.lower() not in metrics or not fits:
        form = "" if at or not needs_k else "; it is written with a k, like NDCG@10"
        raise ConfigError(
            f"valid_metric {config['valid_metric']} is not among metrics {config['metrics']} at "
            f"topk {config['topk']}{form}"
        )


def _check_sequences(config):
    """Refuses what contradicts ``SPLIT: sequence``."""
    if config["BEHAVIOR_FIELD"] is not None:
        raise ConfigError(
            "SPLIT: sequence is for data without behaviours: unset BEHAVIOR_FIELD "
            f"({config['BEHAVIOR_FIELD']})"
        )
    if config["MODEL_TYPE"] != ModelType.SEQUENTIAL:
        raise ConfigError(
            "SPLIT: sequence ranks for sequences that training never saw, which sequential "
            f"models and Pop can do and {config.model} cannot"
        )
    if config["train_rows"] == "last":
        raise ConfigError(
            "train_rows: last keeps what stands shortly before a user's held-out rows; with "
            "SPLIT: sequence a training sequence has none, use train_rows: all"
        )
    if config["held_out_items"] == "new":
        raise ConfigError(
            "held_out_items: new drops the earlier rows of a held-out item, but with SPLIT: "
            "sequence these are held-out rows too, use held_out_items: any"
        )
    if config["all_users"]:
        raise ConfigError(
            "all_users divides by users, but with SPLIT: sequence every prefix is a row: "
            "test_result_all_rows counts the rows without history too"
        )
    args = config["eval_args"]
    if set(args["mode"].values()) != {"full"}:
        raise ConfigError(
            f"eval_args mode is {args['mode']}: RecBole samples items for a user's rows at "
            "once, with SPLIT: sequence each row is ranked by itself, in mode: full"
        )
    if config["benchmark_filename"] is not None:
        return  # the split is that of the files, whatever eval_args says
    split = args["split"]
    if list(split or []) != ["RS"] or args["order"] != "TO":
        raise ConfigError(
            "SPLIT: sequence cuts whole sequences in time order, by eval_args split: {RS: "
            f"[0.8, 0.1, 0.1]}} and order: TO, not by {split} and order: {args['order']}"
        )

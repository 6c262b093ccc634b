"""Under which protocol is a model measured, and can another share its table?"""

import hashlib

from recbole_diffusion.data.seen_before import share_seen_before
from recbole_diffusion.quick_start.protocol_line import measured

# In words, why two models cannot stand in one table.
SHARED = {
    "unit": "its metrics are means over {0}, those of the table over {1}",
    "held_out_hash": "its held-out test rows (hash {0}) are not those of the table ({1})",
    "valid_hash": "its validation rows (hash {0}) are not those of the table ({1})",
    "held_out_items": "its held_out_items is {0}, that of the table {1}",
    "mask_history": "its mask_history is {0}, that of the table {1}",
    "candidates": "its candidates are {0}, those of the table {1}",
    "train_rows": "its train_rows is {0}, that of the table {1}",
    "train_behaviors": "its train_behaviors is {0}, that of the table {1}",
    "topk": "its topk is {0}, that of the table {1}",
    "metrics": "its metrics are {0}, those of the table {1}",
    "valid_metric": "it is selected by {0}, the table by {1}",
}

# What tables of older versions do not say, because there was nothing else.
OLDER = {"held_out_items": "any"}


def describe(config, train_set, valid_set, test_set):
    """What a model is measured on.

    Args:
        config (Config): the run's configuration.
        train_set, valid_set, test_set (Dataset): the built data; validation may be None, which is
            refused.

    Returns:
        dict: plain values, those of `measured` among them. ``seen_before`` is the share of the
        test targets that the user had before, ``valid_seen_before`` that of the validation
        targets. The hashes are `held_out_hash`'s.

    Raises:
        ValueError: if there are no validation rows, or the ranking is not over all items.
    """
    if valid_set is None:
        raise ValueError(f"{config['dataset']} has no validation rows to select a model on")
    modes = config["eval_args"]["mode"]
    if set(modes.values()) != {"full"}:
        raise ValueError(
            f"a benchmark ranks all items: eval_args mode is {modes}, and must be full"
        )
    split = getattr(train_set, "split_report", {})
    return measured(config, test_set) | {
        "dataset": config["dataset"],
        "held_out_hash": held_out_hash(test_set),
        "valid_hash": held_out_hash(valid_set),
        "valid_rows": len(valid_set),
        "users": test_set.user_num - 1,
        "items": test_set.item_num - 1,
        "train_rows": config["train_rows"],
        "train_behaviors": config["train_behaviors"],
        "n_train_rows": len(train_set),
        "seen_before": share_seen_before((train_set, valid_set), test_set),
        "valid_seen_before": share_seen_before((train_set,), valid_set),
        "rows_without_history": split.get("test_rows_without_history", 0),
        "topk": list(config["topk"]),
        "metrics": [name.lower() for name in config["metrics"]],
        "valid_metric": config["valid_metric"].lower(),
    }


def held_out_hash(dataset):
    """Sixteen hexadecimal characters that stand for the held-out interactions.

    Args:
        dataset (Dataset): built test or validation data.

    Returns:
        str: beginning of the SHA-256 of the sorted lines ``user<TAB>item``, tokens in UTF-8.
    """
    fields = (dataset.uid_field, dataset.iid_field)
    columns = [dataset.field2id_token[field][dataset.inter_feat[field].numpy()] for field in fields]
    lines = sorted(f"{user}\t{item}\n" for user, item in zip(*columns))
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def refusal(protocol, table):
    """Why a model cannot stand in a table.

    Args:
        protocol (dict): the model's, of `describe`.
        table (dict): the table's.

    Returns:
        str: the first reason, None if there is none.
    """
    table = OLDER | table
    for key, words in SHARED.items():
        if protocol[key] != table[key]:
            return words.format(protocol[key], table[key])
    return None

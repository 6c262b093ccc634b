"""Might a training that has ended be better with more of it?"""

STILL_ROSE = "validation still rose"


def still_rose(result):
    """Whether the last validation of a training was its best.

    Args:
        result (dict): of a run, with ``best_epoch``, ``epochs`` and, if it is not of an older
            version, ``curve``.

    Returns:
        bool: whether it was.
    """
    curve = result.get("curve") or []
    last = curve[-1][0] if curve else result["epochs"]
    return result["best_epoch"] >= last


def what_to_set(result):
    """What might make a run better, where its last validation was the best of several.

    Args:
        result (dict): of `run_recbole_diffusion`.

    Returns:
        str: a line without a full stop; None where early stopping ended it or nothing rose.
    """
    if len(result.get("curve") or []) < 2 or not still_rose(result):
        return None
    setting = result["stopped_by"]
    if setting not in result["config"]:  # early stopping is no setting
        return None
    more = 2 * result["config"][setting]
    return (
        f"{STILL_ROSE} when {setting} ended it: the same command with --{setting}={more} --resume "
        "goes on"
    )

"""How is it shown on a terminal how far something is, and how long it still takes?"""

from tqdm import tqdm


def bar(total, words, shown=True, unit="batch", initial=0):
    """A bar on standard error that is gone when it ends; none where that is no terminal.

    Args:
        total (int): steps.
        words (str): what is done, before the bar.
        shown (bool): without, there is no bar on a terminal either.
        unit (str): of a step.
        initial (int): steps that were done before.

    Returns:
        tqdm: ``update(n)`` counts steps, ``set_postfix_str`` takes words behind the bar.
    """
    return tqdm(
        total=total,
        desc=words,
        unit=unit,
        initial=initial,
        leave=False,
        dynamic_ncols=True,
        mininterval=0.5,
        disable=None if shown else True,  # None asks whether standard error is a terminal
        bar_format="{desc} {bar:20} {n_fmt}/{total_fmt}{postfix}",
    )


def time_left(bar):
    """What tqdm takes the rest of a bar to last, from its start on.

    Args:
        bar (tqdm): of `bar`.

    Returns:
        float: seconds; None before the first step, and where no bar is shown.
    """
    if bar.disable:
        return None
    known = bar.format_dict
    done = known["n"] - known["initial"]
    return known["elapsed"] / done * max(known["total"] - known["n"], 0) if done else None


def duration(seconds):
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def left(seconds):
    """Words for a remaining time, or none where nothing is known of it (None)."""
    return "" if seconds is None else f"about {duration(seconds)} left"

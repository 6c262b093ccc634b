"""``recbole-diffusion estimate``: what a run takes, before it starts."""

from recbole_diffusion.cli.parsing import parse_settings

ESTIMATE_HELP = """\
time, memory and disk of a run before it starts

Every --key=value is one of `run`, and so are the defaults. The data are read and split, a few
batches are trained on and a few ranked; nothing of it is kept. The three timed training batches are
of small, middle and large size. Models that are fitted in one go, as EASE is, are not timed.

examples:
  recbole-diffusion estimate --model=ICDDT --dataset=retail
  recbole-diffusion estimate --model=SASRec --dataset=ml-100k --epochs=50 --hidden_size=256"""


def estimate(arguments):
    """``recbole-diffusion estimate``: the cost of a run.

    Args:
        arguments (list of str): settings.

    Returns:
        int: exit code.
    """
    if {"-h", "--help"} & set(arguments):
        print(ESTIMATE_HELP)
        return 0
    from recbole_diffusion.config import Config
    from recbole_diffusion.quick_start import estimate as cost

    settings = parse_settings(arguments)
    files = str(settings.pop("config_files", "")).split()
    model, dataset = settings.pop("model", None), settings.pop("dataset", None)
    if not files:  # as of `run`
        model = "ICDDT" if model is None else model
        dataset = "ml-100k" if dataset is None else dataset
    print(table(cost.estimate(Config(model, dataset, files, {"state": "WARNING"} | settings))))
    return 0


def table(found):
    """What `quick_start.estimate.estimate` found, for a terminal.

    Args:
        found (dict): of it.

    Returns:
        str: lines.
    """
    rows = found["rows"]
    lines = [
        f"{found['model']} on {found['dataset']}, {found['device']}: {rows['train']:,} training, "
        f"{rows['valid']:,} validation and {rows['test']:,} test rows",
        f"  reading the data    {_time(found['read_seconds'])}",
    ]
    if found["epoch_seconds"] is not None:
        best, last = found["checkpoint_mb"]["best"], found["checkpoint_mb"]["last"]
        lines += [
            f"  making the model    {_time(found['build_seconds'])}, "
            f"{found['parameters']:,} parameters",
            f"  an epoch            {_time(found['epoch_seconds'])}, {found['batches']:,} batches",
            f"  a validation        {_time(found['valid_seconds'])}",
            f"  the test            {_time(found['test_seconds'])}",
            f"  all {found['epochs']:,} epochs".ljust(22)
            + f"{_time(found['run_seconds'])}, less if it stops early",
            f"  peak memory         {found['peak_memory_mb']:,.0f} MiB",
            f"  disk                {found['disk_mb']:,.1f} MiB: checkpoints {best:,.1f} (best), "
            f"{last:,.1f} (last), logs {found['logs_mb']:,.2f}",
        ]
    else:
        lines.append(f"  memory so far       {found['peak_memory_mb']:,.0f} MiB")
    return "\n".join(lines + [f"  {note}" for note in found["notes"]])


def _time(seconds):
    if seconds < 100:
        return f"{seconds:.3g} s"
    if seconds < 6000:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"

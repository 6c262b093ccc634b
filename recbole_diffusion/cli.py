"""The command line: recbole-diffusion run | doctor."""

import argparse
import sys

from recbole_diffusion import __version__

RUN_HELP = """\
train, select on validation, test once

Every setting is a --key=value (or --key value); values are read as YAML:
  recbole-diffusion run --model=ICDDT --dataset=retail --learning_rate=1e-3 --topk=[10,20]
  recbole-diffusion run --model=SASRec --dataset=retail --config_files="a.yaml b.yaml"
  recbole-diffusion run --resume            go on where a killed run stopped
Without arguments ICDDT runs on ml-100k, which RecBole brings along."""

# Key of the result: what its metrics are divided by.
OTHER_MEANS = {
    "test_result_all_users": "divided by all users, also those without a test row:",
    "test_result_all_rows": "divided by all test rows, also those without a history:",
}


def parse_settings(arguments):
    """Reads ``--key=value`` and ``--key value`` pairs; a key alone is True.

    Args:
        arguments (list of str): what follows the command.

    Returns:
        dict: key to text, or to True.

    Raises:
        ValueError: on an argument that is no setting, or on a key given twice.
    """
    settings = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--") or argument == "--":
            raise ValueError(f"'{argument}' is no setting: write --key=value")
        key, equals, value = argument[2:].partition("=")
        if not equals:
            values = []
            while rest and not rest[0].startswith("--"):
                values.append(rest.pop(0))
            value = " ".join(values) if values else True
        if key in settings:
            raise ValueError(f"--{key} is given twice")
        settings[key] = value
    return settings


def run(arguments):
    """``recbole-diffusion run``: one model on one data set.

    Args:
        arguments (list of str): settings.

    Returns:
        int: exit code.
    """
    if {"-h", "--help"} & set(arguments):
        print(RUN_HELP)
        return 0
    from recbole_diffusion.quick_start import run_recbole_diffusion

    settings = parse_settings(arguments)
    files = str(settings.pop("config_files", "")).split()
    model = settings.pop("model", None)
    dataset = settings.pop("dataset", None)
    if not files:
        model, dataset = model or "ICDDT", dataset or "ml-100k"
    result = run_recbole_diffusion(model, dataset, files, settings)
    print(table(result))
    return 0


def table(result):
    """Small readable tables of the test metrics, a row a metric and a column a k.

    Args:
        result (dict): of `run_recbole_diffusion`.

    Returns:
        str: the table, more of them where metrics are given as other means too, and a line on the
        cost.
    """
    title = f"\n{result['model']} on {result['dataset']}, seed {result['seed']}: test"
    lines = [title, *_metrics(result["test_result"])]
    ks = sorted({int(name.split("@")[1]) for name in result["test_result"] if "@" in name})
    for key, words in OTHER_MEANS.items():
        if result.get(key) is not None:
            lines += [words, *_metrics(result[key])]
    never = result["never_trained_items"]
    if never and never["items"]:
        k = ks[-1] if ks else None
        share = f", {never[f'hits@{k}']:.1%} of the hits at {k}" if f"hits@{k}" in never else ""
        lines.append(f"{never['items']} candidates were never trained on{share}")
        if share:
            last = [name for name in never["barred"] if name.endswith(f"@{k}")]
            barred = ", ".join(f"{name} {never['barred'][name]:.4f}" for name in last)
            lines.append(f"with them barred: {barred}")
    lines.append(
        f"best epoch {result['best_epoch']} of {result['epochs']} (ended by "
        f"{result['stopped_by']}), {result['train_seconds']:.0f} s training, "
        f"{result['valid_seconds']:.0f} s validation, {result['eval_seconds']:.1f} s test, "
        f"{result['parameters']:,} parameters"
    )
    if result["checkpoint"]:
        lines.append(f"best model: {result['checkpoint']}")
    return "\n".join(lines)


def _metrics(values):
    """Lines of a table: metrics by name down, k across."""
    names = list(dict.fromkeys(name.split("@")[0] for name in values))
    ks = sorted({int(name.split("@")[1]) for name in values if "@" in name})
    lines = ["".join([f"{'':12}", *(f"{'@' + str(k):>10}" for k in ks)])]
    for name in names:
        cells = [values[name]] if name in values else [values.get(f"{name}@{k}") for k in ks]
        lines.append(f"{name:12}" + "".join(f"{c:10.4f}" for c in cells if c is not None))
    return lines


def doctor(arguments):
    """``recbole-diffusion doctor``: what is installed and what is wrong with it.

    Args:
        arguments (list of str): ``--json``, ``--data_path=FOLDER``.

    Returns:
        int: 0 if all is well, 1 if a version is out of bounds.
    """
    from recbole_diffusion.doctor import examine, text

    parser = argparse.ArgumentParser(prog="recbole-diffusion doctor")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--data_path", default="dataset", help="folder of data sets")
    options = parser.parse_args(arguments)
    report = examine(options.data_path)
    if options.json:
        import json

        print(json.dumps(report, indent=2))
    else:
        print(text(report))
    return 0 if report["ok"] else 1


COMMANDS = {"run": run, "doctor": doctor}


def main(arguments=None):
    """Entry point of ``recbole-diffusion``.

    Args:
        arguments (list of str): without the program's name; None reads the command line.

    Returns:
        int: exit code; 2 for a mistake of the user, said in one line.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: recbole-diffusion {run,doctor} ...\n")
        print("  run      " + RUN_HELP.replace("\n", "\n           "))
        print("  doctor   check versions, device and data folders (--json)")
        return 0
    if arguments[0] == "--version":
        print(__version__)
        return 0
    command = COMMANDS.get(arguments[0])
    if command is None:
        print(
            f"recbole-diffusion: no command '{arguments[0]}'; there are {', '.join(COMMANDS)}",
            file=sys.stderr,
        )
        return 2
    try:
        return command(arguments[1:])
    except KeyboardInterrupt:
        print(
            "recbole-diffusion: interrupted; the same command with --resume goes on after the last "
            "whole epoch",
            file=sys.stderr,
        )
        return 130
    except (ValueError, FileNotFoundError, ImportError) as error:
        if "state=DEBUG" in " ".join(arguments):
            raise
        hint = ""
        if isinstance(error, ImportError):
            hint = "; `recbole-diffusion doctor` says what is missing or too new"
        print(f"recbole-diffusion: {' '.join(str(error).split())}{hint}", file=sys.stderr)
        return 2

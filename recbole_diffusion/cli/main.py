"""The command line: recbole-diffusion run | benchmark | tune | doctor | pictures."""

import argparse
import shlex
import sys

from recbole_diffusion import __version__
from recbole_diffusion.config.paths import how_to_install, too_old

RUN_HELP = """\
train, select on validation, test once

Every setting is a --key=value (or --key value); values are read as YAML:
  recbole-diffusion run --model=ICDDT --dataset=retail --learning_rate=1e-3 --topk=[10,20]
  recbole-diffusion run --model=SASRec --dataset=retail --config_files="a.yaml b.yaml"
  recbole-diffusion run --resume            go on where a killed run stopped
Without arguments ICDDT runs on ml-100k, which RecBole brings along."""

BENCHMARK_HELP = """\
many models and seeds under one protocol: table, significance, cost, report

  recbole-diffusion benchmark --models=ICDDT,SASRec,recbole:DiffRec --dataset=retail --seeds=5
  recbole-diffusion benchmark --config=FILE.yaml
--output=FOLDER         where it goes, and goes on if it was killed; default: results/<dataset>
--seeds=N or [1,2,3]    seeds of every model; --tune=N trials of each first
--max_train_seconds=S   the same compute for every run; --jobs=N runs at a time, --threads=N each
--mask_history=True     bar what the user had before, for every model
--sampling_seeds=N      test evaluations of each model that draws when scoring
--ablate                one reverse step, no noise, no guidance, x_t zeroed, where a model has them
--external=NAME=FILE    lists of another program as a row, user,item,rank; more parted by commas
--retry                 run again what failed; --report only writes the pages
Any other --key=value is a setting of every run; --config_files="a.yaml b.yaml" too. Defaults:
properties/benchmark.yaml."""

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
    from recbole_diffusion.quick_start.quick_start import run_recbole_diffusion

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
    from recbole_diffusion.cli.doctor import examine, text

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


def benchmark(arguments):
    """``recbole-diffusion benchmark``: many models and seeds under one protocol.

    Args:
        arguments (list of str): options and settings, see ``BENCHMARK_HELP``.

    Returns:
        int: exit code; 1 if a run failed.

    Raises:
        ValueError: on a mistake in the options or the settings.
        ImportError: if a library is missing, with the command that installs it.
    """
    if {"-h", "--help"} & set(arguments):
        print(BENCHMARK_HELP)
        return 0
    try:  # some would be missed only when all is trained
        import plotly  # noqa: F401
        import pyarrow  # noqa: F401
        import statsmodels  # noqa: F401

        from recbole_diffusion.benchmark.report.write import write_pages
    except ImportError as error:
        raise ImportError(
            "a benchmark needs statsmodels, plotly and pyarrow: pip install "
            f'"recbole-diffusion[benchmark]" ({error})'
        ) from error
    from recbole_diffusion.benchmark.plan import make_plan
    from recbole_diffusion.benchmark.report.text import markdown
    from recbole_diffusion.benchmark.runner import Runner
    from recbole_diffusion.config.config import parse_value

    settings = parse_settings(arguments)
    file, output = settings.pop("config", None), settings.pop("output", None)
    if True in (file, output):
        raise ValueError("--config takes a file and --output a folder")
    flags = {name: parse_value(str(settings.pop(name, False))) for name in ("retry", "report")}
    for name, value in flags.items():
        if type(value) is not bool:
            raise ValueError(f"--{name} is {value!r}, neither True nor False")
    if flags["report"] and output and not file and not settings:
        where = output
    else:
        if "external" in settings:
            pairs = [pair.partition("=") for pair in str(settings["external"]).split(",")]
            if not all(name and path for name, _, path in pairs):
                raise ValueError("--external takes NAME=FILE, more of them parted by commas")
            settings["external"] = {name: path for name, _, path in pairs}
        plan = make_plan(settings, file)
        where = output or f"results/{plan.dataset}"
        if not flags["report"]:
            command = "recbole-diffusion benchmark " + " ".join(map(_quoted, arguments))
            runner = Runner(
                plan, where, command, flags["retry"], lambda line: print(line, flush=True)
            )
            try:
                runner.run()
            except KeyboardInterrupt as stop:
                raise KeyboardInterrupt("the same command goes on") from stop
    board, files = write_pages(where)
    print(markdown(board))
    print("\n".join(map(str, files)))
    return 1 if board.failed else 0


def _quoted(argument):
    """A setting as it is typed in a shell."""
    key, equals, value = argument.partition("=")
    return key + equals + shlex.quote(value) if equals else shlex.quote(argument)


class OneLineParser(argparse.ArgumentParser):
    """A parser whose refusals are said as every other one, in one line."""

    def error(self, message):
        raise ValueError(message)


def values_of(kind, words):
    """Gives a function from a text to its values, which are parted by commas.

    Args:
        kind (type): of a value.
        words (str): what the values are.

    Returns:
        Callable: for argparse.
    """

    def values(text):
        try:
            return [kind(part.strip()) for part in text.split(",")]
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is not {words}") from None

    return values


def pictures(arguments):
    """``recbole-diffusion pictures``: what a trained model generates, and how well, as pictures.

    Args:
        arguments (list of str): ``--checkpoint=FILE`` and what ``--help`` names.

    Returns:
        int: exit code.
    """
    parser = OneLineParser(
        prog="recbole-diffusion pictures",
        allow_abbrev=False,
        description="a map of items and generated vectors, and validation metrics against the "
        "guidance weight and the number of reverse steps; each as PNG and HTML",
    )
    add = parser.add_argument
    add("--checkpoint", metavar="FILE", required=True, help="of the model, FILE.best.pth")
    add("--output", metavar="FOLDER", help="default: pictures/<model>-<dataset>")
    kinds = values_of(str, "words parted by commas")
    add("--kinds", type=kinds, help="of map,guidance,steps; default: all that the model has")
    add("--method", default="tsne", help="of the map, tsne or pca; default: tsne")
    weights = values_of(float, "numbers parted by commas")
    add("--weights", type=weights, help="guidance weights; default: 0,1,2,4 and the model's")
    steps = values_of(int, "whole numbers parted by commas")
    add("--steps", type=steps, help="reverse steps; default: 1,2,5,10,20 and the model's")
    add("--rows", type=int, default=300, help="validation rows on the map; default: 300")
    add("--data_path", metavar="FOLDER", help="folder of data sets; default: the run's")
    add("--model", help="where the name in the checkpoint is not enough: my_module:MyModel")
    options = vars(parser.parse_args(arguments))
    given = {key: value for key, value in options.items() if value is not None}
    from recbole_diffusion.pictures.pictures import draw, numbers

    print(numbers(draw(given.pop("checkpoint"), **given)))
    return 0


def tune(arguments):
    """``recbole-diffusion tune``: the settings of a model that are best on validation.

    Args:
        arguments (list of str): ``--model``, ``--dataset``, what ``--help`` names, and settings.

    Returns:
        int: exit code.
    """
    parser = OneLineParser(
        prog="recbole-diffusion tune",
        allow_abbrev=False,
        description="search for the settings that are best on validation; the same command goes on "
        "where a killed one stopped; any other --key=value is a setting of every trial",
    )
    add = parser.add_argument
    add("--model", help="as of run")
    add("--dataset", help="as of run")
    add("--space", metavar="FILE", help="what to search; default: properties/tune/<Model>.yaml")
    add("--trials", type=int, default=20, help="a grid tries all combinations; default: 20")
    add("--search", default="random", help="random, grid or optuna; default: random")
    add("--scheduler", default="asha", help="asha stops poor trials, or none; default: asha")
    add("--concurrent", type=int, default=1, help="trials at once; default: 1")
    add("--address", help="of a Ray cluster that sees the same files; default: Ray is started here")
    add("--output", metavar="FOLDER", help="default: tune/<model>-<dataset>")
    add("--config_files", default="", help="YAML files of settings, parted by spaces")
    options, rest = parser.parse_known_args(arguments)
    options = vars(options)
    files = options.pop("config_files").split()
    from recbole_diffusion.tune.search import search as tuning

    print(tuning.table(tuning.tune(**options, files=files, settings=parse_settings(rest))))
    return 0


COMMANDS = {
    "run": run,
    "benchmark": benchmark,
    "tune": tune,
    "doctor": doctor,
    "pictures": pictures,
}


def main(arguments=None):
    """Entry point of ``recbole-diffusion``.

    Args:
        arguments (list of str): without the program's name; None reads the command line.

    Returns:
        int: exit code; 2 for a mistake of the user, said in one line.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if too_old():
        print(too_old(), file=sys.stderr)
        return 2
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: recbole-diffusion {{{','.join(COMMANDS)}}} ...\n")
        print("  run      " + RUN_HELP.replace("\n", "\n           "))
        print("  benchmark " + BENCHMARK_HELP.replace("\n", "\n           "))
        print("  tune     search for the settings that are best on validation (--help)")
        print("  doctor   check versions, device and data folders (--json)")
        print("  pictures draw a trained model: items, guidance, reverse steps (--checkpoint=FILE)")
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
    except KeyboardInterrupt as stop:
        how = str(stop) or "the same command with --resume goes on after the last whole epoch"
        print(f"recbole-diffusion: interrupted; {how}", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        if "state=DEBUG" in " ".join(arguments):
            raise
        hint = ""
        if isinstance(error, ModuleNotFoundError) and error.name in ("torch", "recbole"):
            hint = f": the libraries are not installed for this Python; {how_to_install()}"
        elif isinstance(error, ImportError) and "pip install" not in str(error):
            hint = "; `recbole-diffusion doctor` says what is missing or too old"
        print(f"recbole-diffusion: {' '.join(str(error).split())}{hint}", file=sys.stderr)
        return 2

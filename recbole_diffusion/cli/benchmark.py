"""``recbole-diffusion benchmark``: many models and seeds under one protocol."""

import shlex
import sys

from recbole_diffusion.cli.parsing import parse_settings

BENCHMARK_HELP = """\
many models and seeds under one protocol: table, significance, cost, report

--output=FOLDER         where it goes, and goes on if it was killed; default: benchmark/<dataset>
--seeds=N or [1,2,3]    seeds of every model; --tune=N trials of each first
--max_train_seconds=S   the same compute for every run; --jobs=N runs at a time, --threads=N each
--address=HOST:PORT     runs go to a Ray cluster whose machines see the same files; auto, local and
                        ray://HOST:PORT too; a run asks for --threads CPUs, --gpus, --memory_gib
--mask_history=True     bar what the user had before, for every model
--sampling_seeds=N      test evaluations of each model that draws when scoring
--ablate                one reverse step, no noise, no guidance, x_t zeroed, where a model has them
--external=NAME=FILE    lists of another program as a row, user,item,rank; more parted by commas
--model=module:Class    a class of your own that the file of --config names
--classes=MODULE:CLASS  classes of your own that FILE.yaml names: their code is run
--retry                 run again what failed; --report only writes the pages
--quiet                 no line a run but of one that failed; the table, and where it is
Any other --key=value is a setting of every run; --config_files="a.yaml b.yaml" too. Defaults:
properties/benchmark.yaml.

examples:
  recbole-diffusion benchmark --models=ICDDT,SASRec,recbole:DiffRec --dataset=retail --seeds=5
  recbole-diffusion benchmark --config=FILE.yaml
  recbole-diffusion benchmark --compare benchmark/a benchmark/b
--compare gives mean ranks across data sets."""


FLAGS = ("retry", "report", "quiet")
PRINTED = ("accuracy", "significance", "ablations", "failures")  # the files have every table


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
    from recbole_diffusion.config.values import parse_value

    settings = parse_settings(arguments)
    if "compare" in settings:
        return _compare(**settings)
    file, output = settings.pop("config", None), settings.pop("output", None)
    settings.pop("model", None)  # classes that the file may name; main has seen it
    address = settings.pop("address", None)
    if True in (file, output):
        raise ValueError("--config takes a file and --output a folder")
    if address in (True, ""):
        raise ValueError(
            "--address takes HOST:PORT of a Ray cluster, auto, local or ray://HOST:PORT"
        )
    settings.pop("classes", None)  # named by a person, as every argument of the command line
    if "" in (file, output):
        raise ValueError(f"--{'output' if output == '' else 'config'} is empty")
    flags = {name: parse_value(str(settings.pop(name, False))) for name in FLAGS}
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
            names = [name for name, *_ in pairs]
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise ValueError(f"--external names two files {twice[0]}")
            settings["external"] = {name: path for name, _, path in pairs}
        plan = make_plan(settings, file)
        where = output or _default_output(plan.dataset)
        if not flags["report"]:
            command = "recbole-diffusion benchmark " + " ".join(map(_quoted, arguments))
            try:
                _run(plan, where, command, flags["retry"], address, flags["quiet"])
            except KeyboardInterrupt as stop:
                raise KeyboardInterrupt("the same command goes on") from stop
    board, files = write_pages(where)
    print(markdown(board, PRINTED))
    print("\n".join(map(str, files)))
    return 1 if board.failed else 0


def _compare(compare, output="benchmark/compare", **others):
    """``--compare``: mean ranks across benchmarks that are done."""
    from recbole_diffusion.benchmark.report.across import markdown, write_comparison

    if others:
        raise ValueError(f"--compare goes with --output alone, not with --{next(iter(others))}")
    if True in (compare, output):
        raise ValueError("--compare takes folders of benchmarks, and --output a folder")
    found, files = write_comparison(compare.replace(",", " ").split(), output)
    print(markdown(found))
    print("\n".join(map(str, files)))
    return 0


def _run(plan, where, command, retry, address, quiet):
    """Runs a plan here or, with an address, on a cluster."""
    from tqdm import tqdm

    from recbole_diffusion.benchmark.runner import Runner

    def say(line):
        with tqdm.external_write_mode(file=sys.stdout):
            print(line, flush=True)

    say = None if quiet else say
    if address is None:
        Runner(plan, where, command, retry, say).run()
        return
    from recbole_diffusion.benchmark.machines import run_on_cluster

    run_on_cluster(address, plan, where, command, retry, say)


def _default_output(dataset):
    """Where a benchmark goes if nothing else is said; not out of ``benchmark/``."""
    if dataset in (".", "..") or set(dataset) & set("/\\\0"):
        raise ValueError(f"dataset is '{dataset}', which is the name of no folder: give --output")
    return f"benchmark/{dataset}"


def _quoted(argument):
    """A setting as it is typed in a shell."""
    key, equals, value = argument.partition("=")
    return key + equals + shlex.quote(value) if equals else shlex.quote(argument)

"""``recbole-diffusion tune``: a search for settings."""

from recbole_diffusion.cli.parsing import OneLineParser, parse_settings


def parser():
    """The options of ``recbole-diffusion tune`` (OneLineParser)."""
    made = OneLineParser(
        prog="recbole-diffusion tune",
        examples=[
            "tune --model=DreamRec --dataset=ml-100k --trials=20 --epochs=30",
            "tune --model=SASRec --dataset=shop --space=space.yaml --search=optuna --concurrent=2",
        ],
        description="search for the settings that are best on validation; the same command goes on "
        "where a killed one stopped; any other --key=value is a setting of every trial",
    )
    add = made.add_argument_group("what is trained").add_argument
    add("--model", help="as of run")
    add("--dataset", help="as of run")
    add("--config_files", default="", help="YAML files of settings, parted by spaces")
    add = made.add_argument_group("what is searched, and how").add_argument
    add("--space", metavar="FILE", help="what to search; default: properties/tune/<Model>.yaml")
    add("--trials", type=int, default=20, help="a grid tries all combinations; default: 20")
    add("--search", default="random", help="random, grid or optuna; default: random")
    add("--scheduler", default="asha", help="asha stops poor trials, or none; default: asha")
    add = made.add_argument_group("where, and what is said").add_argument
    add("--concurrent", type=int, default=1, help="trials at once; default: 1")
    add("--address", help="of a Ray cluster that sees the same files; default: Ray is started here")
    add("--output", metavar="FOLDER", help="default: tune/<model>-<dataset>")
    add("--quiet", action="store_true", help="no line a trial; the table, and where it is")
    return made


def tune(arguments):
    """``recbole-diffusion tune``: the settings of a model that are best on validation.

    Args:
        arguments (list of str): ``--model``, ``--dataset``, what ``--help`` names, and settings.

    Returns:
        int: exit code.
    """
    options, rest = parser().parse_known_args(arguments)
    options = vars(options)
    files = options.pop("config_files").split()
    from recbole_diffusion.tune import search as tuning

    print(tuning.table(tuning.tune(**options, files=files, settings=parse_settings(rest))))
    return 0

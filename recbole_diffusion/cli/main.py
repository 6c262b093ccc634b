"""The command line, ``recbole-diffusion COMMAND ...``."""

import sys

from recbole_diffusion import __version__
from recbole_diffusion.cli.benchmark import BENCHMARK_HELP, benchmark
from recbole_diffusion.cli.doctor import doctor
from recbole_diffusion.cli.explore import explore
from recbole_diffusion.cli.export import export
from recbole_diffusion.cli.parsing import one_line
from recbole_diffusion.cli.pictures import pictures
from recbole_diffusion.cli.recommend import recommend
from recbole_diffusion.cli.run import RUN_HELP, run
from recbole_diffusion.cli.serve import serve
from recbole_diffusion.cli.signals import is_sigterm, sigterm_as_interrupt
from recbole_diffusion.cli.tune import tune
from recbole_diffusion.config.paths import how_to_install, too_old

COMMANDS = {
    "run": run,
    "benchmark": benchmark,
    "tune": tune,
    "doctor": doctor,
    "pictures": pictures,
    "recommend": recommend,
    "serve": serve,
    "explore": explore,
    "export": export,
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
        print("  recommend lists for people, out of a trained model (--help)")
        print("  serve    a trained model behind HTTP (--help)")
        print("  explore  a trained model on a page: history, list, reverse walk (--help)")
        print("  export   a trained model for other programs: onnx, torchscript, safetensors")
        return 0
    if arguments[0] == "--version":
        print(__version__)
        return 0
    command = COMMANDS.get(arguments[0])
    if command is None:
        print(
            "recbole-diffusion: "
            + one_line(f"no command '{arguments[0]}'; there are {', '.join(COMMANDS)}"),
            file=sys.stderr,
        )
        return 2
    try:
        from recbole_diffusion.config.foreign import vouch

        vouch(*arguments[1:])
        return sigterm_as_interrupt(command, arguments[1:])
    except KeyboardInterrupt as stop:
        how = str(stop) or "the same command with --resume goes on after the last whole epoch"
        word, code = ("terminated", 143) if is_sigterm(stop) else ("interrupted", 130)
        print(f"recbole-diffusion: {word}; {how}", file=sys.stderr)
        return code
    except (ValueError, OSError, ImportError) as error:
        if "state=DEBUG" in " ".join(arguments):
            raise
        hint = ""
        if isinstance(error, ModuleNotFoundError) and error.name in ("torch", "recbole"):
            hint = f": the libraries are not installed for this Python; {how_to_install()}"
        elif isinstance(error, ImportError) and "pip install" not in str(error):
            hint = "; `recbole-diffusion doctor` says what is missing or too old"
        print(f"recbole-diffusion: {one_line(str(error))}{hint}", file=sys.stderr)
        return 2

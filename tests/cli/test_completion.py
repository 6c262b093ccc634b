"""The TAB key, and the examples of --help, which the same parser understands."""

import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import recbole_diffusion
from recbole_diffusion.cli.completion import settings_of, whole_parser
from recbole_diffusion.cli.main import COMMANDS, main

REPOSITORY = Path(recbole_diffusion.__file__).parents[1]
BASH = """
eval "$(recbole-diffusion completion bash)"
while read -r line; do
  COMP_LINE="$line" COMP_POINT=${#line} COMP_TYPE=9 COMPREPLY=()
  _python_argcomplete recbole-diffusion
  echo "${COMPREPLY[@]}"
done
"""

with_argcomplete = pytest.mark.skipif(
    not importlib.util.find_spec("argcomplete"), reason="the extra `completion` is not installed"
)


def completed(folder, *lines):
    """What bash offers behind each of some lines."""
    program = folder / "bin" / "recbole-diffusion"
    program.parent.mkdir()
    program.write_text(f'#!/bin/bash\nexec {shlex.quote(sys.executable)} -m recbole_diffusion "$@"')
    program.chmod(0o755)
    paths = {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        ["bash", "-c", BASH], input="".join(f"recbole-diffusion {line}\n" for line in lines),
        env=os.environ | paths, capture_output=True, text=True, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == ""
    return [reply.split() for reply in done.stdout.splitlines()]


@with_argcomplete
def test_bash_completes_commands_options_models_and_data_sets(shop):
    asked = {
        "run --model=ICD": ["ICDDT"],
        "run --model ICD": ["ICDDT"],
        "benchmark --models=ICDDT,LightG": ["ICDDT,LightGCN"],
        "run --model=SASRec --learning_r": ["--learning_rate"],
        "run --verbosity=": ["quiet", "normal", "verbose"],
        "run --dataset=": ["ml-100k", "shop"],
        "bench": ["benchmark"],
        "data desc": ["describe"],
        "export --format=o": ["onnx"],
        "run --model=Nobody": [],  # the control
    }
    replies = completed(shop, *asked)
    assert dict(zip(asked, replies)) == asked


@with_argcomplete
@pytest.mark.parametrize("shell, word", [("bash", "complete "), ("zsh", "compdef"), ("fish", "-a")])
def test_every_shell_has_its_script(shell, word, capsys):
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert word in out and "recbole-diffusion" in out


def test_a_missing_library_and_another_shell_are_said(capsys, monkeypatch):
    assert main(["completion", "tcsh"]) == 2
    assert "invalid choice: 'tcsh'" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    assert main(["completion", "bash"]) == 2
    assert 'pip install "recbole-diffusion[completion]"' in capsys.readouterr().err


def test_a_model_that_was_typed_has_its_settings_and_no_others():
    assert "dims_dnn" in settings_of("recbole-diffusion run --model=DiffRec --")
    assert "dims_dnn" not in settings_of("recbole-diffusion run --model=SASRec --")
    assert "dims_dnn" in settings_of("recbole-diffusion run --")
    assert settings_of()["length_buckets"] == ("True", "False")


def examples(capsys):
    """The examples of every command's help."""
    found = {}
    for name in COMMANDS:
        try:
            main([name, "--help"])
        except SystemExit:
            pass
        lines = capsys.readouterr().out.partition("examples:\n")[2].splitlines()
        found[name] = [line.strip() for line in lines if line.startswith("  recbole-diffusion ")]
    return found


def test_every_example_of_the_help_is_understood(capsys):
    found = examples(capsys)
    assert [name for name, lines in found.items() if not lines] == []
    parser = whole_parser()
    for name, lines in found.items():
        for line in lines:
            words = shlex.split(line)[1:]
            assert words[0] == name
            parser.parse_args(words)
    for wrong in ("run --learning_rat=1", "tune --trails=3", "export --format=pickle"):
        with pytest.raises(ValueError):  # the control
            parser.parse_args(wrong.split())


@pytest.mark.parametrize("example", ["models", "settings ICDDT --key=steps", "data list"])
def test_examples_that_need_nothing_run(example, capsys):
    assert example in str(examples(capsys))
    assert main(example.split()) == 0 and capsys.readouterr().out

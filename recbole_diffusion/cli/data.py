"""``recbole-diffusion data``: which data sets there are, what is in one, how one is prepared."""

import difflib
import json
import subprocess
import sys
import textwrap
from pathlib import Path

from recbole_diffusion.cli.parsing import OneLineParser, one_line, parse_settings
from recbole_diffusion.config.paths import properties_dir, scripts_dir

DATA_HELP = """\
which data sets there are, what is in one, and how one is prepared

list      every data set that is known by name, and those in --data_path (default: dataset)
describe  counts of a data set and of its split, as a table; with --output=FOLDER also as a picture
          (PNG and HTML) and JSON. Any other --key=value is a setting of the run that would read it
fetch     the original of a known name from its owner, where that serves it openly, into --folder
          (default: raw): https, no more bytes than known, SHA-256 compared, then unpacked
prepare   atomic files out of a raw file, in --data_path. --script=NAME takes a script of
          dataset_scripts/: that of a known name by default, else table, for a table of your own;
          all other options are those of the script, prepare NAME --help, as --sep, --encoding,
          --time_format, --time_zone and --on_bad=skip of a table of your own. Says the SHA-256 of
          the raw file, and whether it is that of the known original

examples:
  recbole-diffusion data list
  recbole-diffusion data describe ml-100k
  recbole-diffusion data describe retail --model=DreamRec --output=pictures/retail
  recbole-diffusion data fetch ml-1m
  recbole-diffusion data prepare retail --input events.csv
  recbole-diffusion data prepare shop --input log.csv --user buyer --item product --time bought
  recbole-diffusion data prepare shop --input log.txt --user Kunde --item Ware --sep=';'"""

WAYS = ("list", "describe", "fetch", "prepare")
WIDTH = 100  # characters a line


def data(arguments):
    """``recbole-diffusion data list | describe NAME | fetch NAME | prepare NAME``.

    Args:
        arguments (list of str): as of ``DATA_HELP``.

    Returns:
        int: exit code.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(DATA_HELP)
        return 0
    what, *rest = arguments
    ways = dict(zip(WAYS, (_list, _describe, _fetch, _prepare)))
    if what not in ways:
        raise ValueError(f"data {what}: there are {', '.join(ways)}")
    if what == "list":
        return _list(rest)
    if rest[:1] in (["-h"], ["--help"]):
        print(DATA_HELP)
        return 0
    if not rest or rest[0].startswith("-"):
        raise ValueError(f"data {what} needs the name of a data set: data {what} NAME")
    return ways[what](*rest)


def known():
    """The data sets that are known by name.

    Returns:
        dict: name to what ``properties/datasets.yaml`` says of it.
    """
    import yaml

    return yaml.safe_load((properties_dir() / "datasets.yaml").read_text(encoding="utf-8"))


def _list(arguments):
    parser = OneLineParser(prog="recbole-diffusion data list", allow_abbrev=False)
    parser.add_argument("--data_path", default="dataset", help="folder of data sets")
    folder = Path(parser.parse_args(arguments).data_path)
    sets = known()
    for name, about in sets.items():
        print(f"{name}: {about['about']}" + (" (prepared)" if _is_there(folder, name) else ""))
        counts = [f"{about[of]:,} {of}" for of in ("users", "items", "interactions") if of in about]
        said = [", ".join(counts), f"good for {about['good_for']}", f"licence: {about['licence']}"]
        print(_indented("; ".join(filter(None, said))))
        sha256 = "known" if "sha256" in about else "not known"
        openly = f"recbole-diffusion data fetch {name}" if "fetch" in about else "by hand"
        print(_indented(f"to be had: {openly}; sha256 of the original: {sha256}"))
        if "script" in about:
            command = f"recbole-diffusion data prepare {name} --input {about['file']}"
            print(_indented(f"{command}  (from {about['page']})"))
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    own = [name for name in sorted(names) if name not in sets and _is_there(folder, name)]
    if own:
        print(f"\nin {folder}: {', '.join(own)}")
    return 0


def _indented(text):
    return textwrap.fill(
        text, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
    )


def _is_there(folder, name):
    return name == "ml-100k" or any((folder / name).glob(f"{name}*.inter"))


def _describe(name, *arguments):
    from recbole_diffusion.config import Config
    from recbole_diffusion.quick_start.describe import describe

    settings = parse_settings(arguments)
    output, model = settings.pop("output", None), settings.pop("model", "SASRec")
    files = str(settings.pop("config_files", "")).split()
    if output in (True, ""):
        raise ValueError("--output takes a folder")
    found = describe(Config(model, name, files, {"state": "WARNING"} | settings))
    print(table(name, found))
    if output is not None:
        from recbole_diffusion.pictures.data_set import draw_data

        written = draw_data(found, name, output)
        written.append(Path(output) / f"{name}.json")
        written[-1].write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print("\n".join(map(str, written)))
    return 0


def table(name, found):
    """What `describe` found, for a terminal.

    Args:
        name (str): of the data set.
        found (dict): of `describe`.

    Returns:
        str: lines.
    """
    lines = [
        f"{name}: {found['users']:,} users, {found['items']:,} items, "
        f"{found['interactions']:,} interactions (density {found['density']:.3%})"
    ]
    for key, words in (("behaviors", "by behaviour"), ("files", "by file")):
        if found[key]:
            counts = ", ".join(f"{part} {count:,}" for part, count in found[key].items())
            lines.append(f"  {words}: {counts}")
    if found["time"] is not None:
        lines.append(f"  from {found['time']['first']} to {found['time']['last']}")
    names = list(found["user_lengths"])
    lines += ["", f"{'':28}" + "".join(f"{head:>10}" for head in names)]
    lengths = {"interactions of a user": "user_lengths", "interactions of an item": "item_lengths"}
    rows = {words: found[key] for words, key in lengths.items()}
    for part in ("train", "valid", "test"):
        if found[part].get("history"):
            rows[f"history of a {part} row"] = found[part]["history"]
    for words, values in rows.items():
        lines.append(f"{words:28}" + "".join(f"{values[head]:>10,.4g}" for head in names))
    lines += ["", f"the most popular 1 % of the items have {found['top_items']:.1%} of all"]
    lines.append(f"{found['repeats']:.1%} of the interactions are with an item the user had before")
    if found["tied"] is not None:
        lines.append(f"{found['tied']:.1%} have the stamp of an earlier one of the same user")
    if found["repeated_lines"]:
        lines.append(f"{found['repeated_lines']:,} repeated lines are left out")
    lines += ["", f"split: {found['split'] or 'that of RecBole'}"]
    lines.append(f"{'':28}{'rows':>10}{'seen before':>16}{'never trained':>16}")
    for part in ("train", "valid", "test"):
        shares = [found[part].get(key) for key in ("seen_before", "never_trained")]
        cells = "".join("" if share is None else f"{share:>16.1%}" for share in shares)
        lines.append(f"{part + ' rows':28}{found[part]['rows']:>10,}{cells}")
    lines.append("seen before: targets that the user had before; never trained: that no training")
    lines.append("row holds, as history or target")
    return "\n".join(lines)


def _fetch(name, *arguments):
    from recbole_diffusion.cli import fetching, originals

    parser = OneLineParser(prog="recbole-diffusion data fetch", allow_abbrev=False)
    parser.add_argument("--folder", default="raw", help="where originals are kept")
    parser.add_argument(
        "--unverified", action="store_true", help="keep a file that is not the known original"
    )
    options = parser.parse_args(arguments)
    about = known().get(name)
    if about is None:
        raise ValueError(_unknown(name, known()))
    if "fetch" not in about:
        raise ValueError(
            f"{name} is not served openly by its owners: get it by hand from {about['page']} "
            f"(licence: {about['licence']})"
        )
    source = about["fetch"]
    file = source["url"].rsplit("/", 1)[1]
    path, sha256 = Path(options.folder) / file, (about.get("sha256") or {}).get(file)
    if path.exists():
        digest = originals.sha256_of(path)
        what, words = originals.verdict(name, about, file, digest)
        if what == "other" and not options.unverified:
            raise ValueError(f"{path} is there, and {words}. Remove it to fetch it again")
        print(f"{path} is already there")
    else:
        print(f"{source['url']} (licence: {about['licence']})", flush=True)
        expected = None if options.unverified else sha256
        digest = fetching.download(source["url"], path, expected, source["at_most"])
    words = originals.verdict(name, about, file, digest)[1]
    if sha256 is None:
        words = f"UNVERIFIED: {words}; compare it with what you fetch another time"
    print(f"sha256 of {path}: {digest} ({words})")
    folder = path.with_suffix("")
    if not folder.exists():
        files = fetching.unpack(path, folder)
        print(f"unpacked to {folder}: {', '.join(sorted(files))}")
    script = "" if "script" in about else " --script=movielens"
    print(f"next: recbole-diffusion data prepare {name}{script} --input {path}")
    return 0


def _unknown(name, sets):
    near = difflib.get_close_matches(name, sets, n=1)
    return f"no data set '{name}' is known" + (f"; did you mean '{near[0]}'?" if near else "")


def _prepare(name, *arguments):
    from recbole_diffusion.cli.originals import lines_about

    parser = OneLineParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--script")
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--output")
    options, rest = parser.parse_known_args(arguments)
    scripts, sets = scripts_dir(), known()
    about = sets.get(name, {})
    if name == "ml-100k" and options.script is None:
        print("ml-100k is part of RecBole: nothing has to be prepared")
        return 0
    helps = {"-h", "--help"} & set(rest)
    if not (about or options.script or helps) and "--user" not in " ".join(rest):
        raise ValueError(
            _unknown(name, sets).rstrip("?")
            + ". A table of your own needs --input=FILE --user=COLUMN --item=COLUMN; "
            "`recbole-diffusion data list` lists those that are known"
        )
    script = scripts / f"{options.script or about.get('script', 'table')}.py"
    runnable = sorted(p.stem for p in scripts.glob("*.py") if "def main(" in p.read_text("utf-8"))
    if script.stem not in runnable:
        raise ValueError(f"--script is {options.script}, not one of {', '.join(runnable)}")
    if about and not any(word.partition("=")[0] in ("--input", "-h", "--help") for word in rest):
        raise ValueError(
            f"{name} is made out of {about['file']}, which --input names; it is from "
            f"{about['page']} (licence: {about['licence']})"
        )
    output = options.output or str(Path(options.data_path) / name)
    if not helps:
        parser = OneLineParser(add_help=False)
        parser.add_argument("--input", "--events")
        raw = parser.parse_known_args(rest)[0].input
        for line in [] if raw is None else lines_about(name, about, raw):
            print(one_line(line), flush=True)
    before = any(Path(output).glob("*.inter"))
    code = subprocess.run([sys.executable, script, *rest, "--output", output]).returncode
    if before and code == 0:
        print(f"{output} was there and is replaced")
    return code

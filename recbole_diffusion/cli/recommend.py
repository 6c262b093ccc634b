"""``recbole-diffusion recommend``: lists for people, out of a trained model."""

from recbole_diffusion.cli.parsing import OneLineParser

COLUMNS = ("user", "item", "time", "behavior")


def parser():
    """The options of ``recbole-diffusion recommend`` (OneLineParser)."""
    made = OneLineParser(
        prog="recbole-diffusion recommend",
        examples=[
            "recommend --checkpoint=SASRec.best.pth --histories=log.csv -k 20 --output=lists.csv",
            "recommend --checkpoint=FILE --histories=log.csv --user=buyer --item=product "
            "--time=bought --output=lists.csv",
            "recommend --checkpoint=FILE --histories=log.parquet --deny=out.txt --output=x.jsonl",
        ],
        description="the best items for everybody of a file, out of a trained model; no data set "
        "is read. The same command goes on after a kill",
    )
    add = made.add_argument_group("files").add_argument
    add("--checkpoint", metavar="FILE", required=True, help="of the model, FILE.best.pth")
    add(
        "--histories",
        metavar="FILE",
        help="a line an interaction: .csv or .tsv with a header, .parquet or .inter, with the "
        "columns of the data set that the model was trained on; in order of time, or with a stamp, "
        "a number or an ISO date",
    )
    for name in COLUMNS:
        add(
            f"--{name}",
            metavar="COLUMN",
            help=f"the {name} in --histories, where it has its own name",
        )
    add("--output", metavar="FILE", required=True, help="of the lists: .csv, .parquet or .jsonl")
    add = made.add_argument_group("lists").add_argument
    add("-k", type=int, default=20, help="items a list; default: 20")
    add("--users", metavar="FILE", help="whose lists, an id a line; default: all of --histories")
    add("--exclude_seen", choices=("True", "False"), help="leave out what is in the history; "
        "default: as in the evaluation of the run")  # fmt: skip
    add("--candidates", metavar="FILE", help="the items that may be recommended, an id a line")
    add("--deny", metavar="FILE", help="items that may not, an id a line")
    add("--target_behavior", help="the behaviour to predict; default: that of the run")
    add("--cold", choices=("pop", "skip"), default="skip", help="users without a known item or "
        "learnt vector get the most popular items, or no list; default: skip")  # fmt: skip
    add("--ann", action="store_true", help="search by an index that finds nearly all of the best "
        "items, for models whose scores are inner products; its recall is printed")  # fmt: skip
    add("--seed", type=int, help="of the noise of models that draw; default: that of the run")
    add = made.add_argument_group("how it is computed").add_argument
    add("--batch_size", type=int, default=512, help="users scored at once; default: 512")
    add("--model", help="where the name in the checkpoint is not enough: my_module:MyModel")
    add("--address", help="of a Ray cluster that does the parts, HOST:PORT, auto or local; no disk "
        "is shared; extra `cluster`")  # fmt: skip
    add("--cpus", type=int, default=1, help="of a worker of the cluster; default: 1")
    return made


def recommend(arguments):
    """``recbole-diffusion recommend``: the best items for everybody of a file.

    Args:
        arguments (list of str): ``--checkpoint``, ``--histories`` and what ``--help`` names.

    Returns:
        int: exit code.
    """
    options = vars(parser().parse_args(arguments))
    columns = {name: options.pop(name) for name in COLUMNS}
    options["columns"] = {name: column for name, column in columns.items() if column is not None}
    if options["exclude_seen"] is not None:
        options["exclude_seen"] = options["exclude_seen"] == "True"
    from recbole_diffusion.recommend.job import recommend_file

    try:
        report = recommend_file(**options)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt("the same command goes on with the parts it lacks") from stop
    print(
        f"{report['lists']} lists for {report['users']} users in {options['output']}; "
        f"{report['unknown_rows']} lines with unknown items left out, {report['cold_users']} users "
        + ("got the most popular items" if options["cold"] == "pop" else "got no list")
    )
    for option in ("candidates", "deny"):
        if unknown := report.get(f"unknown_{option}"):
            print(f"{unknown} items of {options[option]} ({option}) are not known to the model")
    if report.get("nodes"):
        print(f"machines of the cluster that did parts: {report['nodes']}")
    if report.get("ann_recall") is not None:
        print(f"the index found {report['ann_recall']:.4f} of exact lists, over a sample of users")
    return 0

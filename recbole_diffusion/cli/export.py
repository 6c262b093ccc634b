"""``recbole-diffusion export``: a trained model, for other programs."""

from recbole_diffusion.cli.parsing import OneLineParser


def parser():
    """The options of ``recbole-diffusion export`` (OneLineParser)."""
    made = OneLineParser(
        prog="recbole-diffusion export",
        examples=[
            "export --checkpoint=saved/ICDDT.best.pth --format=onnx",
            "export --checkpoint=FILE --format=safetensors --output=exported",
        ],
        description="a folder with the model as a graph (onnx, torchscript) or as weights "
        "(safetensors), the ids of the items in order of the graph's columns, and a model card. A "
        "graph reads histories and noise, and is compared with the model before it is there",
    )
    add = made.add_argument
    add("--checkpoint", metavar="FILE", required=True, help="of the model, FILE.best.pth")
    add(
        "--format",
        required=True,
        choices=("onnx", "torchscript", "safetensors"),
        help="onnx or torchscript: SASRec, GRU4Rec and this package's models without LDiffRec, "
        "LTDiffRec and MarkovChain, of at most 100 passes through the denoiser (torch deprecates "
        "torchscript); safetensors: all",
    )
    add(
        "--output",
        metavar="FOLDER",
        help="new, empty or an earlier export; default: beside the checkpoint, with its name and "
        "the format",
    )
    add("--model", help="where the name in the checkpoint is not enough: my_module:MyModel")
    return made


def export(arguments):
    """``recbole-diffusion export``: a folder with a graph or weights, ids and a model card.

    Args:
        arguments (list of str): ``--checkpoint=FILE`` and what ``--help`` names.

    Returns:
        int: exit code.
    """
    options = parser().parse_args(arguments)
    from recbole_diffusion.recommend.export import export

    report = export(options.checkpoint, options.format, options.output, options.model)
    print(f"{report['file']}, with the items' ids and README.md beside it")
    for one in report.get("checks", []):
        length = "" if one["length"] is None else f", {one['length']} items long"
        print(
            f"compared with the model on {one['batch']} histories{length}: scores differ by at "
            f"most {one['difference']:.1e}"
        )
    return 0

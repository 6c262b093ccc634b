"""``recbole-diffusion pictures``: a trained model, drawn."""

import argparse

from recbole_diffusion.cli.parsing import OneLineParser


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


def parser():
    """The options of ``recbole-diffusion pictures`` (OneLineParser)."""
    made = OneLineParser(
        prog="recbole-diffusion pictures",
        examples=[
            "pictures --checkpoint=saved/ICDDT.best.pth",
            "pictures --checkpoint=saved/DreamRec.best.pth --kinds=guidance,steps --weights=0,1,2",
        ],
        description="a map of items and generated vectors, and validation metrics against the "
        "guidance weight and the number of reverse steps; each as PNG and HTML",
    )
    add = made.add_argument_group("files").add_argument
    add("--checkpoint", metavar="FILE", required=True, help="of the model, FILE.best.pth")
    add("--output", metavar="FOLDER", help="default: pictures/<model>-<dataset>")
    add("--data_path", metavar="FOLDER", help="folder of data sets; default: the run's")
    add("--model", help="where the name in the checkpoint is not enough: my_module:MyModel")
    add = made.add_argument_group("what is drawn").add_argument
    kinds = values_of(str, "words parted by commas")
    add("--kinds", type=kinds, help="of map,guidance,steps; default: all that the model has")
    add("--method", default="tsne", help="of the map, tsne or pca; default: tsne")
    weights = values_of(float, "numbers parted by commas")
    add("--weights", type=weights, help="guidance weights; default: 0,1,2,4 and the model's")
    steps = values_of(int, "whole numbers parted by commas")
    add("--steps", type=steps, help="reverse steps; default: 1,2,5,10,20 and the model's")
    add("--rows", type=int, default=300, help="validation rows on the map; default: 300")
    return made


def pictures(arguments):
    """``recbole-diffusion pictures``: what a trained model generates, and how well, as pictures.

    Args:
        arguments (list of str): ``--checkpoint=FILE`` and what ``--help`` names.

    Returns:
        int: exit code.
    """
    options = vars(parser().parse_args(arguments))
    given = {key: value for key, value in options.items() if value is not None}
    from recbole_diffusion.pictures.pictures import draw, numbers
    from recbole_diffusion.quick_start.log import shown

    with shown():
        drawn = draw(given.pop("checkpoint"), **given)
    print(numbers(drawn))
    return 0

"""``recbole-diffusion explore``: a trained model, tried out in the browser."""

from recbole_diffusion.cli.parsing import OneLineParser


def parser():
    """The options of ``recbole-diffusion explore`` (OneLineParser)."""
    made = OneLineParser(
        prog="recbole-diffusion explore",
        examples=[
            "explore --checkpoint=saved/DreamRec.best.pth",
            "explore --checkpoint=FILE --compare=OTHER --items=titles.item",
        ],
        description="a page in the browser: put a history together, see the list, move guidance "
        "weight, reverse steps and samples, and see the reverse walk over a map of the items. "
        "Whoever reaches it can use it: it has no passwords",
    )
    add = made.add_argument
    add("--checkpoint", metavar="FILE", required=True, help="of the model, FILE.best.pth")
    add("--compare", metavar="FILE", help="checkpoint of another model, to stand beside it")
    add("--items", metavar="FILE", help="titles, an .item file; default: the data set's, if there")
    add("--host", default="127.0.0.1", help="default: 127.0.0.1, which only this machine reaches")
    add("--port", type=int, default=8050, help="0 takes a free one; default: 8050")
    add("--seed", type=int, help="of the noise of models that draw; default: that of the run")
    add("--model", help="where the name in the checkpoint is not enough: my_module:MyModel")
    return made


def explore(arguments):
    """``recbole-diffusion explore``: serves a page until it is interrupted.

    Args:
        arguments (list of str): ``--checkpoint`` and what ``--help`` names.

    Returns:
        int: exit code.
    """
    options = vars(parser().parse_args(arguments))
    try:
        import dash  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'the page needs Dash: pip install "recbole-diffusion[explore]" ({error})'
        ) from error
    from recbole_diffusion.explore.explore import explore as start

    start(**options)
    return 0

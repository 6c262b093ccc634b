"""``recbole-diffusion serve``: a trained model behind HTTP."""

from recbole_diffusion.cli.parsing import OneLineParser


def parser():
    """The options of ``recbole-diffusion serve`` (OneLineParser)."""
    made = OneLineParser(
        prog="recbole-diffusion serve",
        examples=[
            "serve --checkpoint=saved/SASRec.best.pth",
            "serve --checkpoint=FILE --host=0.0.0.0 --port=8080",
        ],
        description="a trained model behind HTTP: POST /recommend, GET /health, GET /model, and a "
        "page that documents them, /docs. Whoever reaches it can ask: it has no passwords",
    )
    add = made.add_argument
    add("--checkpoint", metavar="FILE", required=True, help="of the model, FILE.best.pth")
    add("--host", default="127.0.0.1", help="default: 127.0.0.1, which only this machine reaches")
    add("--port", type=int, default=8000, help="0 takes a free one; default: 8000")
    add("--timeout", type=float, default=10.0, help="seconds a request may take; default: 10")
    add("--seed", type=int, help="of the noise of models that draw; default: that of the run")
    add("--model", help="where the name in the checkpoint is not enough: my_module:MyModel")
    return made


def serve(arguments):
    """``recbole-diffusion serve``: answers requests for lists until it is interrupted.

    Args:
        arguments (list of str): ``--checkpoint`` and what ``--help`` names.

    Returns:
        int: exit code.
    """
    options = vars(parser().parse_args(arguments))
    try:
        from recbole_diffusion.recommend.serve import serve as start
    except ImportError as error:
        if error.name not in ("fastapi", "fastapi_offline", "uvicorn", "pydantic"):
            raise
        raise ImportError(
            f'serving needs FastAPI and uvicorn: pip install "recbole-diffusion[serve]" ({error})'
        ) from error
    try:
        start(**options)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt("the service has ended") from stop
    return 0

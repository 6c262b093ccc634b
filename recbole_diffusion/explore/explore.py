"""Trying out a trained model on a page in the browser."""

from recbole_diffusion.explore.catalogue import Catalogue, titles_of
from recbole_diffusion.explore.page import Page, application
from recbole_diffusion.explore.tried import Tried
from recbole_diffusion.recommend.listening import listen
from recbole_diffusion.recommend.recommender import load

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def page_of(checkpoints, items=None, model=None, seed=None):
    """The page of one or two models; no data set is read.

    Args:
        checkpoints (list of str or Path): of the models, side by side.
        items (str or Path): an ``.item`` file with titles; None is that of the first run's data
            set, if it is there.
        model (str): of the first, as of `load`.
        seed (int): as of `load`.

    Returns:
        Page: the page.

    Raises:
        CheckpointError, ValueError: as of `load`.
        DataError: if the file of titles cannot be used.
    """
    first, *others = checkpoints
    models = [load(first, model, seed=seed), *(load(one, seed=seed) for one in others)]
    catalogue = Catalogue(models, titles_of(models[0], items))
    return Page([Tried(one, catalogue) for one in models], catalogue, models[0].seed)


def explore(
    checkpoint, compare=None, items=None, host="127.0.0.1", port=8050, model=None, seed=None
):
    """Serves the page until it is interrupted.

    Args:
        checkpoint (str or Path): of the model.
        compare (str or Path): of another model, to stand beside it.
        items, model, seed: as of `page_of`.
        host (str): the address to listen on; the default is reached from this machine alone.
        port (int): 0 takes a free one.

    Raises:
        ConfigError: if the port is in use, or the address cannot be listened on.
        CheckpointError, DataError, ValueError: as of `page_of`.
    """
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Silent(WSGIRequestHandler):
        """Writes no line a request."""

        def log(self, type, message, *args):
            pass

    listening = listen(host, port)
    port = listening.getsockname()[1]
    page = page_of([checkpoint, *([compare] if compare else [])], items, model, seed)
    app = application(page, LOOPBACK if host in LOOPBACK else None)
    name = f"[{host}]" if ":" in host else host
    print(f"{app.title}: http://{name}:{port}/ (Ctrl+C ends it)", flush=True)
    with make_server(
        host, port, app.server, threaded=True, request_handler=Silent, fd=listening.fileno()
    ) as server:
        server.serve_forever()

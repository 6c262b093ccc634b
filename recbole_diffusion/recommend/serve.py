"""A trained model behind HTTP.

Extra ``serve``: FastAPI documents the requests, fastapi-offline shows them at /docs without a
network, uvicorn serves.
"""

import asyncio

import uvicorn
from fastapi import Request
from fastapi.responses import Response
from fastapi_offline import FastAPIOffline
from pydantic import ValidationError

from recbole_diffusion import __version__
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.data.lines import DataError
from recbole_diffusion.recommend.batches import TOGETHER, Batches, Busy
from recbole_diffusion.recommend.limits import (
    MOST_BYTES,
    MOST_CONNECTIONS,
    Impatient,
    Limited,
    error,
)
from recbole_diffusion.recommend.listening import listen
from recbole_diffusion.recommend.requests import Answer, Wanted, schema_of, words_of

_DETAIL = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}


def application(recommender, timeout=10.0, most_bytes=MOST_BYTES, together=TOGETHER):
    """The service of a model.

    Args:
        recommender (Recommender): the model.
        timeout (float): seconds that a request may take.
        most_bytes (int): of a request.
        together (int): people that are scored at once; 1 scores every request alone.

    Returns:
        fastapi.FastAPI: POST /recommend, GET /health, GET /model, and the OpenAPI page at /docs.
    """
    config = recommender.config
    app = FastAPIOffline(
        title=f"{config['model']} on {config['dataset']}",
        version=__version__,
        description="Lists of a recommender trained with recbole-diffusion.",
    )
    app.add_middleware(Limited, most=most_bytes, timeout=timeout)
    batches = Batches(recommender, timeout, together)
    body = {"required": True, "content": {"application/json": {"schema": schema_of(Wanted)}}}
    refused = {
        code: {"description": words, "content": {"application/json": {"schema": _DETAIL}}}
        for code, words in (
            (408, "The request came too slowly"),
            (413, "The request is too long"),
            (422, "The request is wrong"),
            (503, "Too much to do"),
        )
    }

    @app.post("/recommend", response_model=Answer, responses=refused,
              openapi_extra={"requestBody": body})  # fmt: skip
    async def recommend(request: Request):
        """The best items for people."""
        try:
            wanted = Wanted.model_validate_json(await request.body())
            answer = await while_connected(request, batches.ask(wanted))
            return Response(answer, media_type="application/json")
        except ValidationError as invalid:
            return error(422, words_of(invalid))
        except (ConfigError, DataError) as wrong:
            return error(422, str(wrong))
        except TimeoutError:
            return error(503, f"no answer within {timeout:g} seconds: try again later")
        except Busy:
            return error(503, "too many requests are waiting: try again later")

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the service runs."""
        return {"status": "ok"}

    @app.get("/model")
    async def model() -> dict:
        """What the model is and needs."""
        return about(recommender)

    return app


async def while_connected(request, work):
    """What work gives, which is given up where the client goes.

    Args:
        request (fastapi.Request): whose body was read.
        work (coroutine): for the client.

    Returns:
        object: what ``work`` returns; empty bytes where nobody waits for it.
    """

    async def left():
        while (await request.receive())["type"] != "http.disconnect":
            pass

    answer, gone = asyncio.ensure_future(work), asyncio.ensure_future(left())
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else b""
    finally:
        answer.cancel()
        gone.cancel()


def about(recommender):
    """What a model is and needs (dict of plain values)."""
    config, tokens = recommender.config, recommender.tokens
    behaviors = tokens.get(config["BEHAVIOR_FIELD"])
    return {
        "model": config["model"],
        "dataset": config["dataset"],
        "reads": recommender.reads,
        "items": len(tokens[recommender.item_field]) - 1,
        "users": len(tokens[recommender.user_field]) - 1,
        "behaviors": behaviors[1:] if behaviors else None,
        "target_behavior": config["target_behavior"] if behaviors else None,
        "longest_history": config["MAX_ITEM_LIST_LENGTH"]
        if recommender.reads == "sequence"
        else None,
        "validation": recommender.validation,
        "parameters": sum(p.numel() for p in recommender.model.parameters()),
    }


def server(app, **options):
    """The server of a service, which bounds connections and logs no requests.

    Args:
        app (fastapi.FastAPI): of `application`.
        **options: of ``uvicorn.Config``.

    Returns:
        uvicorn.Server: not running yet.
    """
    ours = {
        "http": Impatient,
        "log_level": "warning",
        "access_log": False,
        "timeout_keep_alive": 5,
        "limit_concurrency": MOST_CONNECTIONS,
    }
    return uvicorn.Server(uvicorn.Config(app, **ours | options))


def serve(
    checkpoint,
    host="127.0.0.1",
    port=8000,
    timeout=10.0,
    model=None,
    seed=None,
    together=TOGETHER,
):
    """Serves a model until it is interrupted.

    Args:
        checkpoint (str or Path): the model's.
        host (str): the address to listen on; the default is reached from this machine alone.
        port (int): 0 takes a free one.
        timeout (float): seconds that a request may take.
        model, seed: as of `load`.
        together (int): as of `application`.

    Raises:
        ConfigError: if the port is in use, or the address cannot be listened on.
        CheckpointError, ValueError: as of `load`.
    """
    from recbole_diffusion.recommend.recommender import load

    if not 0 < timeout < float("inf"):
        raise ConfigError(f"timeout {timeout} is not a number of seconds above 0")
    listening = listen(host, port)
    app = application(load(checkpoint, model, seed=seed), timeout, together=together)
    print(
        f"{app.title}: http://{host}:{listening.getsockname()[1]}/docs (Ctrl+C ends it)", flush=True
    )
    server(app).run([listening])

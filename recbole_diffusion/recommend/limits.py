"""How much may a client take? Of memory and of time, in a request or without one."""

import asyncio
import logging
import traceback

from fastapi.responses import JSONResponse
from uvicorn.protocols.http.auto import AutoHTTPProtocol

MOST_BYTES = 1 << 20  # of a request
MOST_HELD = 32 << 20  # bytes of all requests that are not answered yet
MOST_CONNECTIONS = 800  # a process may often have 1024 open files
PATIENCE = 10.0  # seconds for the head of a request, and for reading more of an answer


class Refused(Exception):
    """A request that is not read to its end; `status` and words say why."""

    def __init__(self, status, words):
        super().__init__(words)
        self.status = status


def error(status, words):
    """An answer that says what is wrong in one line."""
    later = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse({"detail": " ".join(words.split())}, status, later)


class Limited:
    """Bounds the bytes of a request, of all requests together, and the time a body takes (ASGI).

    What the application fails with is answered with 500 and logged by its kind and place: the words
    of an exception may hold what was asked.

    Args:
        app (Callable): the application.
        most (int): bytes of a request.
        timeout (float): seconds for a body.
        held (int): bytes of all requests that are not answered yet.
    """

    def __init__(self, app, most, timeout, held=MOST_HELD):
        self.app, self.most, self.timeout, self.held = app, most, timeout, held
        self.now = 0

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        got, more, started = 0, True, False
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.timeout

        async def counted():
            nonlocal got, more
            if not more:  # the body is there; what comes is the end of the connection
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise Refused(408, f"no whole request within {self.timeout:g} seconds") from None
            size = len(message.get("body", b""))
            got, self.now = got + size, self.now + size
            more = message.get("more_body", False)
            if got > self.most:
                raise Refused(413, f"the request is longer than {self.most} bytes")
            if self.now > self.held:
                raise Refused(503, "too many requests are waiting: try again later")
            return message

        async def noted(message):
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, counted, noted)
        except Refused as refused:
            await error(refused.status, str(refused))(scope, receive, send)
        except Exception as failure:
            place = traceback.extract_tb(failure.__traceback__)[-1]
            logging.getLogger(__name__).error(
                "%s in %s, line %d", type(failure).__name__, place.filename, place.lineno
            )
            if not started:
                await error(500, f"the service failed ({type(failure).__name__})")(
                    scope, receive, send
                )
        finally:
            self.now -= got


class Impatient(AutoHTTPProtocol):
    """Ends connections that hold a place without asking, or without reading their answer."""

    asking = reading = None  # timers

    def connection_made(self, transport):
        super().connection_made(transport)
        self._watch()

    def data_received(self, data):
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc):
        super().connection_lost(exc)
        self.asking, self.reading = _stop(self.asking), _stop(self.reading)

    def pause_writing(self):
        super().pause_writing()
        self.reading = self.reading or self.loop.call_later(PATIENCE, self.transport.abort)

    def resume_writing(self):
        super().resume_writing()
        self.reading = _stop(self.reading)

    def _watch(self):
        if self.cycle is not None and not self.cycle.response_complete:  # a request is there
            self.asking = _stop(self.asking)
        elif self.asking is None:
            self.asking = self.loop.call_later(PATIENCE, self.transport.close)


def _stop(timer):
    """Ends a timer, if there is one, and gives None."""
    if timer is not None:
        timer.cancel()

"""Whatever a service is sent, it says what is wrong, logs none of it, and goes on as before."""

import http.client
import json
import logging
import os
import socket
import threading

import pytest
from fuzzing import Broken, inputs, tried
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("fastapi_offline", reason="the extra `serve` is not installed")

from recbole_diffusion.quick_start import run_recbole_diffusion  # noqa: E402
from recbole_diffusion.recommend import batches  # noqa: E402
from recbole_diffusion.recommend.recommender import load  # noqa: E402
from recbole_diffusion.recommend.serve import application, server  # noqa: E402
from recbole_diffusion.testing.made_up import chain, write  # noqa: E402

pytestmark = pytest.mark.slow

SECRET = "s3cr3t"  # part of all that is sent
PLAIN = {"people": [{"user": "u", "items": ["i1", "i2"], "behaviors": ["view", "buy"]}], "k": 3}


class Service:
    """A service on loopback, and what it logs."""

    def __init__(self, recommender):
        self.log = []
        handler = logging.Handler()
        handler.emit = lambda record: self.log.append(handler.format(record))
        logging.getLogger().addHandler(handler)
        listening = socket.create_server(("127.0.0.1", 0))
        self.address = listening.getsockname()
        # Without a configuration uvicorn's logs come here, too.
        self.server = server(application(recommender, timeout=3.0), log_config=None)
        thread = threading.Thread(target=self.server.run, args=([listening],), daemon=True)
        thread.start()
        self.plain = self.ask(PLAIN)

        def stop():
            self.server.should_exit = True
            thread.join(30)
            logging.getLogger().removeHandler(handler)

        self.stop = stop

    def send(self, sent, method="POST"):
        """Status and body of the answer to bytes; None where the connection ends without one."""
        with socket.create_connection(self.address, timeout=30) as client:
            try:
                client.sendall(sent)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before it was read to its end
            try:
                answer = http.client.HTTPResponse(client, method=method)
                answer.begin()
                return answer.status, answer.read()
            except (http.client.HTTPException, ConnectionResetError):
                return None

    def ask(self, wanted):
        """The list that it gives the first of the people."""
        status, body = self.send(post(json.dumps(wanted).encode()))
        if status != 200:
            raise Broken(f"a good request is answered with {status}")
        return [one["item"] for one in json.loads(body)["lists"][0]["items"]]


@pytest.fixture(scope="module", params=["ICDDT", "LightGCN"])
def service(request, tmp_path_factory, small):
    folder, before = tmp_path_factory.mktemp("service"), os.getcwd()
    os.chdir(folder)
    write("dataset", "shop", chain(30, 20, 8))
    settings = small(request.param, epochs=1, state="ERROR")
    recommender = load(
        run_recbole_diffusion(request.param, "shop", config_dict=settings)["checkpoint"]
    )
    os.chdir(before)
    PLAIN["people"][0]["user"] = recommender.tokens["user_id"][1]
    found = Service(recommender)
    yield found
    found.stop()


def post(body, path="/recommend", method="POST", headers=(), length=True):
    """A request as bytes."""
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: a", b"Connection: close", *headers]
    lines += [b"Content-Length: %d" % len(body)] if length else []
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(body, size):
    """A body in chunks."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


# ---------------------------------------------------------------- what is sent
WORDS = st.one_of(
    st.sampled_from(["i1", "i2", "u3", "view", "buy", "", " ", "\0", "\ud800", "\u202e", "é"]),
    st.text(max_size=20),
).map(lambda word: word + SECRET if len(word) > 2 and word[:1] not in "iuvb" else word)
NUMBERS = st.one_of(
    st.integers(),
    st.sampled_from([10**400, -(10**400), float("nan"), float("inf"), -float("inf"), 1e308]),
    st.sampled_from([True, False, None, 2**63, -1, 0, 1001, 2.5]),
)
VALUES = st.recursive(
    WORDS | NUMBERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
FIELDS = "people k exclude_seen candidates deny target_behavior cold".split()
MADE_WRONG = {  # values that a field may not have
    "people": NUMBERS | st.just([]) | st.just({}) | st.lists(NUMBERS, min_size=1),
    "k": st.sampled_from([0, -1, 1001, True, "3", 2.5, None, [], float("nan"), 10**400, 21]),
    "exclude_seen": st.sampled_from([0, 1, "True", [], {}, float("inf")]),
    "candidates": NUMBERS.filter(lambda v: v is not None) | st.just([SECRET]) | st.just([None]),
    "deny": NUMBERS.filter(lambda v: v is not None) | st.just([SECRET]) | st.just([["i1"]]),
    "target_behavior": st.sampled_from([SECRET, "", 5, [], True]),
    "cold": st.sampled_from([SECRET, "", 5, None, [], "POP"]),
    SECRET: VALUES,
}


@st.composite
def people(draw):
    found = []
    for number in range(draw(st.integers(1, 4))):
        items = draw(st.lists(st.integers(0, 25).map("i{}".format), max_size=8))
        told = draw(st.lists(st.sampled_from(["view", "buy"]), min_size=8, max_size=8))
        found.append({"user": f"u{number}", "items": items, "behaviors": told[: len(items)]})
    return found


@st.composite
def sent(draw):
    """A request: its kind, bytes, method, and the status that it must have (None: not 500)."""
    kind = draw(st.sampled_from(["good", "wrong value", "JSON", "bytes", "length", "HTTP"]))
    wanted = {"people": draw(people()), "k": draw(st.integers(1, 20))}
    method = "POST"
    if kind == "wrong value":
        field = draw(st.sampled_from(list(MADE_WRONG)))
        if draw(st.integers(0, 4)) or field != "people":
            wanted[field] = draw(MADE_WRONG[field])
        else:
            wrong = draw(st.sampled_from(["user", "items", "behaviors", SECRET]))
            wanted["people"][0][wrong] = draw(st.sampled_from([5, {"a": 1}, [5], [["i1"]], True]))
        return kind, post(json.dumps(wanted).encode()), method, 422
    if kind == "JSON":
        value = draw(VALUES | st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, VALUES)))
        return kind, post(json.dumps(value).encode()), method, 422
    body = json.dumps(wanted).encode()
    if kind == "good":
        return kind, post(body), method, 200
    if kind == "bytes":
        odd = draw(st.sampled_from(["insert", "cut", "twice", "bom", "utf-16", "deep", "nul"]))
        place = draw(st.integers(0, len(body)))
        if odd in ("insert", "nul"):
            extra = draw(st.binary(min_size=1, max_size=6)) if odd == "insert" else b"\0"
            body = body[:place] + extra + body[place:]
        elif odd == "cut":
            body = body[:place]
        elif odd == "twice":
            body = b'{"k": "%s", "k": 1, "people": [], ' % SECRET.encode() + body[1:]
        elif odd == "deep":
            body = body[:-1] + b', "deny": ' + draw(st.sampled_from([b"[", b'{"a":'])) * 50_000
        else:
            body = body.decode().encode("utf-8-sig" if odd == "bom" else "utf-16")
        return kind, post(body), method, None
    if kind == "length":
        long = body + b" " * (1 << 20)
        if draw(st.booleans()):
            return kind, post(long), method, 413
        headers = [b"Transfer-Encoding: chunked"]
        parts = chunked(long, draw(st.sampled_from([1000, 65_536, 2_000_000])))
        return kind, post(b"", headers=headers, length=False) + parts, method, 413
    path = draw(
        st.sampled_from(["/recommend"] * 4 + ["/recommend/", "/health", "/model", "/docs", "/a"])
        | st.sampled_from(["/%00", "/recommend?" + SECRET, "*", "//", "/../../etc/passwd", ""])
    )
    method = draw(st.sampled_from(["POST"] * 4 + "GET PUT DELETE OPTIONS HEAD PATCH FOO".split()))
    headers = draw(
        st.lists(
            st.sampled_from(
                [
                    b"Content-Type: text/plain",
                    b"Content-Type: application/xml; charset=" + SECRET.encode(),
                    b"Content-Type: multipart/form-data; boundary=x",
                    b"Content-Encoding: gzip",
                    b"Transfer-Encoding: chunked",
                    b"Transfer-Encoding: " + SECRET.encode(),
                    b"Content-Length: -5",
                    b"Content-Length: 99999999999999999999",
                    b"Content-Length: two",
                    b"Expect: 100-continue",
                    b"Upgrade: websocket",
                    b"X: " + b"x" * 100_000,
                    b"\xff\xfe: \x00",
                    b"no colon",
                ]
            )
            | st.binary(max_size=20),
            max_size=2,
        )
    )
    return kind, post(body, path, method, headers, draw(st.booleans())), method, None


def check(service, kind, content, method, expected):
    """Sends a request and holds the service to the law.

    Raises:
        Broken: if the law does not hold.
    """
    answer = service.send(content, method)
    tried[f"requests, {kind}", "else"] += 1
    if answer is None and kind != "HTTP":
        raise Broken("no answer")
    status, body = answer or (400, b"")
    if status >= 500 or expected not in (None, status):
        raise Broken(f"{status} and not {expected}: {body[:300]!r}")
    if status in (413, 422):
        words = json.loads(body)["detail"]
        if not words or "\n" in words or len(words) > 1000:
            raise Broken(f"not one clear line: {words!r}")
    if service.ask(PLAIN) != service.plain:
        raise Broken("afterwards it gives another list")
    told, service.log[:] = [line for line in service.log if SECRET in line], []
    if told:
        raise Broken(f"it logged {told[:3]}")
    tried[f"requests, {kind}", "else"] -= 1
    tried[f"requests, {kind}", "correct" if status == 200 else "refused"] += 1


@inputs(150, 5000)
@given(sent())
def test_a_service_answers_whatever_it_is_sent(service, asked):
    check(service, *asked)


def test_a_service_that_fails_or_tells_is_found(service, monkeypatch):
    """The control: of two planted faults, each is found."""
    content = post(json.dumps(PLAIN | {"deny": ["i1", SECRET]}).encode())
    check(service, "control", content, "POST", 200)
    plain = batches.answers

    def fails(recommender, requests):
        return plain(recommender, requests) if requests[0].deny is None else {}[SECRET]

    def tells(recommender, requests):
        logging.getLogger("uvicorn.error").warning("asked for %s", requests[0])
        return plain(recommender, requests)

    for fault, words in ((fails, "500 and not 200"), (tells, "it logged")):
        monkeypatch.setattr(batches, "answers", fault)
        with pytest.raises(Broken, match=words):
            check(service, "control", content, "POST", 200)
    for outcome in ("correct", "else"):
        del tried["requests, control", outcome]

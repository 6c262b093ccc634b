"""A service answers as the recommender does, and every mistake with one clear error."""

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pandas as pd
import pytest

pytest.importorskip("fastapi_offline", reason="the extra `serve` is not installed")
pytest.importorskip("httpx", reason="FastAPI's test client is not installed")

from fastapi.testclient import TestClient  # noqa: E402

from recbole_diffusion.cli.main import main  # noqa: E402
from recbole_diffusion.quick_start import run_recbole_diffusion  # noqa: E402
from recbole_diffusion.recommend import batches, limits, serve  # noqa: E402
from recbole_diffusion.recommend.recommender import load  # noqa: E402
from recbole_diffusion.recommend.requests import Answer, Wanted  # noqa: E402


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, write_inter):
    """Gives a function from a model to a checkpoint."""
    folder = tmp_path_factory.mktemp("serve")
    rows = [(f"u{u}", f"i{(u + t) % 20}", "view", t) for u in range(30) for t in range(8)]
    write_inter(folder / "dataset", "shop", rows)
    made = {}

    def checkpoint(model, **settings):
        if model not in made:
            quiet = {"epochs": 1, "show_progress": False, "use_gpu": False, "state": "ERROR"}
            places = {
                "data_path": str(folder / "dataset"),
                "checkpoint_dir": str(folder),
                "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
                "MAX_ITEM_LIST_LENGTH": 6,
            }
            result = run_recbole_diffusion(model, "shop", config_dict=quiet | places | settings)
            made[model] = result["checkpoint"]
        return made[model]

    return checkpoint


@pytest.fixture(scope="module")
def recommender(checkpoints):
    return load(checkpoints("SASRec", hidden_size=8, inner_size=8, n_layers=1, n_heads=1))


@pytest.fixture(scope="module")
def client(recommender):
    with TestClient(serve.application(recommender), raise_server_exceptions=False) as client:
        yield client


def ask(people, **options):
    named = [{"user": user, "items": items} for user, items in people.items()]
    return {"people": named, **options}


def test_the_answer_is_what_the_recommender_gives(client, recommender):
    people = {"anna": ["i1", "i2", "i3"], "ben": ["i9", "unheard"], "new": []}
    answer = client.post("/recommend", json=ask(people, k=3))
    assert answer.status_code == 200
    rows = [(user, item) for user, items in people.items() for item in items]
    expected = recommender.recommend(pd.DataFrame(rows, columns=["user_id", "item_id"]), k=3)
    found = [
        (one["user"], ranked["item"], pytest.approx(ranked["score"], abs=1e-5))
        for one in answer.json()["lists"]
        for ranked in one["items"]
    ]
    assert found == list(zip(expected["user_id"], expected["item_id"], expected["score"]))
    assert answer.json()["unknown_items"] == 1
    popular = client.post("/recommend", json=ask(people, k=3, cold="pop")).json()
    assert [one["user"] for one in popular["lists"]] == ["anna", "ben", "new"]


def test_health_model_and_documentation(client):
    assert client.get("/health").json() == {"status": "ok"}
    about = client.get("/model").json()
    assert (about["model"], about["reads"], about["items"]) == ("SASRec", "sequence", 20)
    page = client.get("/docs").text
    assert "swagger" in page and "https://" not in page  # needs no network
    schema = client.get("/openapi.json").json()["paths"]["/recommend"]["post"]
    wanted = schema["requestBody"]["content"]["application/json"]["schema"]
    assert "people" in wanted["properties"] and "$ref" not in json.dumps(wanted)


@pytest.mark.parametrize(
    "body, words",
    [
        ("", "Invalid JSON"),
        ("[1, 2", "Invalid JSON"),
        ("\udcff".encode("utf-8", "surrogateescape"), "Invalid JSON"),
        ("[" * 100_000, "Invalid JSON"),
        ("5", "Input should be"),
        ({"people": []}, "people: List should have at least 1 item"),
        ({"people": [{"user": "a"}], "kk": 3}, "kk: Extra inputs are not permitted"),
        ({"people": [{"user": 5, "items": []}]}, "people.0.user: Input should be a valid string"),
        ({"people": [{"user": "a", "items": ["x"] * 10_001}]}, "at most 10000 items"),
        ({"people": [{"user": "a"}, {"user": "a"}]}, "people names a user twice"),
        ({"people": [{"user": "a"}], "k": 0}, "k: Input should be greater than or equal to 1"),
        ({"people": [{"user": "a"}], "k": True}, "k: Input should be a valid integer"),
        ({"people": [{"user": "a"}], "k": 21}, "k is 21, but 20 items may be recommended"),
        ({"people": [{"user": "a"}], "cold": "no"}, "cold: Input should be 'pop' or 'skip'"),
        (
            {"people": [{"user": "a", "items": ["i1"], "behaviors": []}]},
            "people.0: Value error, 0 behaviors for 1 items",
        ),
        ({"people": [{"user": "a"}], "target_behavior": "buy"}, "was not trained on behaviours"),
    ],
)
def test_a_mistake_is_answered_with_one_clear_error(client, body, words):
    sent = json.dumps(body) if isinstance(body, dict) else body
    answer = client.post("/recommend", content=sent)
    assert answer.status_code == 422
    assert words in answer.json()["detail"] and "\n" not in answer.json()["detail"]


def test_a_request_that_is_too_long_is_refused(client):
    assert client.post("/recommend", content=b" " * (1 << 20) + b"{}").status_code == 413
    fine = json.dumps(ask({"a": ["i1"]})).encode()
    assert client.post("/recommend", content=b" " * 1000 + fine).status_code == 200


def test_requests_that_wait_together_are_scored_together(recommender, monkeypatch):
    calls = []
    plain = recommender.recommend
    monkeypatch.setattr(
        recommender, "recommend", lambda *a, **b: calls.append(len(b["users"])) or plain(*a, **b)
    )

    async def many():
        waiting = batches.Batches(recommender, timeout=30)
        wanted = [Wanted(**ask({"a": [f"i{n}"]}, k=2)) for n in range(12)]
        wanted.append(Wanted(**ask({"a": ["i1"]}, k=3)))  # other options
        wanted.append(Wanted(**ask({"a": ["i1"]}, k=99)))  # wrong
        return await asyncio.gather(*map(waiting.ask, wanted), return_exceptions=True)

    answers = asyncio.run(many())
    assert sorted(calls) == [1, 1, 12]
    told, wrong = [Answer.model_validate_json(one) for one in answers[:13]], answers[13]
    for number, answer in enumerate(told[:12]):
        alone = plain(pd.DataFrame({"user_id": ["a"], "item_id": [f"i{number}"]}), k=2)
        assert [ranked.item for ranked in answer.lists[0].items] == list(alone["item_id"])
        assert answer.lists[0].user == "a"
    assert len(told[12].lists[0].items) == 3
    assert "k is 99" in str(wrong)


def test_a_request_that_takes_too_long_is_given_up(recommender, monkeypatch):
    monkeypatch.setattr(recommender, "recommend", lambda *a, **b: time.sleep(0.5))
    with TestClient(serve.application(recommender, timeout=0.1)) as client:
        answer = client.post("/recommend", json=ask({"a": ["i1"]}))
    assert answer.status_code == 503 and "within 0.1 seconds" in answer.json()["detail"]


def test_a_request_that_fails_does_not_make_others_fail(checkpoints):
    settings = {"BEHAVIOR_FIELD": "behavior", "target_behavior": "view", "truncation": 1.0}
    recommender = load(checkpoints("ICDDT", hidden_size=8, n_layers=1, **settings))
    people = [{"user": "a", "items": ["i1"], "behaviors": ["view"]} for _ in range(7)]
    people[4]["behaviors"] = ["stare"]

    async def many():
        waiting = batches.Batches(recommender, timeout=30)
        asked = [waiting.ask(Wanted(people=[person], k=2)) for person in people]
        return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(many())
    assert "behavior is not one of view" in str(found.pop(4))
    assert {len(Answer.model_validate_json(one).lists[0].items) for one in found} == {2}


def test_a_failure_is_answered_and_its_words_are_not_logged(recommender, monkeypatch, caplog):
    def fail(*arguments, **options):
        raise KeyError("secret-item")

    monkeypatch.setattr(recommender, "recommend", fail)
    with TestClient(serve.application(recommender, timeout=60)) as client:
        answer = client.post("/recommend", json=ask({"a": ["i1"]}))
        assert answer.status_code == 500 and answer.json()["detail"] == (
            "the service failed (KeyError)"
        )
        assert client.get("/health").status_code == 200
    said = [r.getMessage() for r in caplog.records if r.name.startswith("recbole_diffusion")]
    assert len(said) == 1 and "KeyError in " in said[0] and "secret" not in caplog.text


def test_a_full_queue_is_said_at_once_and_empties(recommender, monkeypatch):
    monkeypatch.setattr(batches, "MOST_WAITING", 2)

    async def many():
        waiting = batches.Batches(recommender, timeout=30)
        wanted = Wanted(**ask({"a": ["i1"]}, k=2))
        found = await asyncio.gather(
            *(waiting.ask(wanted) for _ in range(5)), return_exceptions=True
        )
        return found, await waiting.ask(wanted)

    found, later = asyncio.run(many())
    assert [type(one) for one in found] == [bytes, bytes, *[batches.Busy] * 3]
    lists = [Answer.model_validate_json(one).lists[0] for one in (later, found[0])]
    assert [one.item for one in lists[0].items] == [one.item for one in lists[1].items]
    with TestClient(serve.application(recommender)) as client:
        monkeypatch.setattr(batches, "MOST_WAITING", 0)
        answer = client.post("/recommend", json=ask({"a": ["i1"]}))
    assert answer.status_code == 503 and "too many requests are waiting" in answer.json()["detail"]
    assert answer.headers["Retry-After"] == "1"


def test_who_has_gone_is_not_scored(recommender, monkeypatch):
    scored, plain = [], recommender.recommend
    monkeypatch.setattr(
        recommender, "recommend", lambda *a, **b: scored.append(b["users"]) or plain(*a, **b)
    )

    class Request:
        async def receive(self):
            return {"type": "http.disconnect"}

    async def many():
        waiting = batches.Batches(recommender, timeout=30)
        staying = waiting.ask(Wanted(**ask({"stays": ["i1"]}, k=2)))
        leaving = waiting.ask(Wanted(**ask({"leaves": ["i1"]}, k=2)))
        return await asyncio.gather(staying, serve.while_connected(Request(), leaving))

    found, none = asyncio.run(many())
    assert scored == [["0 stays"]] and none == b"" and b"stays" in found


def test_the_bytes_of_all_requests_together_are_bounded():
    limited, answers = limits.Limited(None, most=100, timeout=1, held=150), []

    async def app(scope, receive, send):
        while (await receive())["more_body"]:
            pass
        if scope["first"]:  # another arrives before the answer to the first
            await limited({"type": "http", "first": False}, body(100), note)
        await limits.JSONResponse("fine")(scope, receive, send)

    def body(size):
        async def receive():
            return {"type": "http.request", "body": b" " * size, "more_body": False}

        return receive

    async def note(message):
        answers.append(message.get("status"))

    limited.app = app
    for size, expected in ((100, [503, 200]), (50, [200, 200])):
        answers.clear()
        asyncio.run(limited({"type": "http", "first": True}, body(size), note))
        assert [status for status in answers if status] == expected and limited.now == 0


@pytest.fixture
def address(recommender, monkeypatch):
    """Where the service listens, with little patience."""
    monkeypatch.setattr(limits, "PATIENCE", 0.2)
    listening = socket.create_server(("127.0.0.1", 0))
    app = serve.application(recommender, timeout=0.5)
    server = serve.server(app, log_level="critical")
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    yield listening.getsockname()
    server.should_exit = True
    thread.join(30)


HEAD = b"POST /recommend HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    "parts, answer",
    [
        ([b""], b""),  # says nothing
        ([b"POST /re", b"com", b"mend", b" HT", b"TP/1", b".1\r"], b""),  # a head without end
        ([HEAD % 1000 + b"{"], b" 408 "),
        ([HEAD % 5 + b"12345"], b" 422 "),  # the control
    ],
)
def test_a_client_that_is_slow_is_let_go(address, parts, answer):
    with socket.create_connection(address) as client:
        client.settimeout(30)
        try:
            for part in parts:
                client.sendall(part)
                time.sleep(0.1 * (len(parts) > 1))
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            first = client.recv(1000)
        except ConnectionResetError:
            first = b""
        assert answer in first and bool(answer) == bool(first)


def test_nothing_of_a_request_is_logged(client, caplog):
    with caplog.at_level(logging.DEBUG):
        client.post("/recommend", json=ask({"secret-name": ["i1", "secret-item"]}))
        client.post("/recommend", content='{"people": "secret-name"}')
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith(("httpx", "asyncio"))]
    assert "secret" not in " ".join(ours)


def test_a_model_of_known_users_ignores_others(checkpoints):
    recommender = load(checkpoints("LightGCN", embedding_size=8, n_layers=1))
    with TestClient(serve.application(recommender)) as client:
        answer = client.post("/recommend", json=ask({"u3": [], "stranger": ["i1"]}, k=2))
    assert [one["user"] for one in answer.json()["lists"]] == ["u3"]


@pytest.mark.parametrize(
    "options, words",
    [
        (["--port=70000"], "port 70000 is not in 0..65535"),
        (["--timeout=0"], "timeout 0.0 is not a number of seconds above 0"),
        (["--host=not a host"], "cannot listen on not a host"),
        (["--colour=red"], "--colour=red"),
    ],
)
def test_mistakes_of_the_command_are_said_in_one_line(checkpoints, capsys, options, words):
    assert main(["serve", f"--checkpoint={checkpoints('SASRec')}", *options]) == 2
    assert words in capsys.readouterr().err


def test_a_port_in_use_is_said_in_one_line(checkpoints, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", f"--checkpoint={checkpoints('SASRec')}", f"--port={port}"]) == 2
    error = capsys.readouterr().err
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in error


@pytest.mark.slow
def test_the_command_serves_on_loopback_until_it_is_stopped(checkpoints, recommender):
    command = [sys.executable, "-m", "recbole_diffusion", "serve", "--port=0"]
    command.append(f"--checkpoint={checkpoints('SASRec')}")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    )
    try:
        line = process.stdout.readline()
        address = line.partition("http://")[2].partition("/docs")[0]
        assert address.startswith("127.0.0.1:")
        with urllib.request.urlopen(f"http://{address}/health", timeout=30) as answer:
            assert json.load(answer) == {"status": "ok"}
    finally:
        process.terminate()
        process.wait(timeout=30)

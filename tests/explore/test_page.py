"""What stands on the page, what a click does to it, and what is refused."""

import json
import socket

import pytest

pytest.importorskip("dash", reason="the extra `explore` is not installed")

from recbole_diffusion.cli.main import main  # noqa: E402
from recbole_diffusion.explore.explore import page_of  # noqa: E402
from recbole_diffusion.explore.page import application  # noqa: E402


@pytest.fixture(scope="module")
def pages(checkpoint):
    """Gives a function from models to their page."""
    made = {}

    def page(*models):
        if models not in made:
            made[models] = page_of([checkpoint(model) for model in models])
        return made[models]

    return page


def components(tree, kind):
    """The components of a kind, as plain values, wherever they stand."""
    if isinstance(tree, list):
        return [one for part in tree for one in components(part, kind)]
    if not isinstance(tree, dict):
        return []
    own = [tree] if tree.get("type") == kind else []
    return own + [one for part in tree.values() for one in components(part, kind)]


def layout_of(page, hosts=None):
    app = application(page, hosts)
    client = app.server.test_client()
    client.get("/")
    return client.get("/_dash-layout").get_json()


@pytest.mark.parametrize(
    "models, sliders, inputs, choices",
    [
        (("ICDDT",), 2, ["search"], ["behavior", "target", "k"]),
        (("DreamRec",), 3, ["search"], ["k"]),
        (("SASRec",), 0, ["search"], ["k"]),
        (("Pop",), 0, [], ["k"]),
        (("LightGCN",), 0, ["user-search"], ["k"]),
        (("DreamRec", "LightGCN"), 3, ["search", "user-search"], ["k"]),
    ],
)
def test_the_page_offers_what_its_models_have(pages, models, sliders, inputs, choices):
    layout = layout_of(pages(*models))
    assert len(components(layout, "Slider")) == sliders
    assert [one["props"]["id"] for one in components(layout, "Input")] == inputs
    assert [one["props"]["id"] for one in components(layout, "RadioItems")] == choices
    assert len(components(layout, "H2")) == len(models) + len(inputs)


def test_a_history_is_put_together_by_clicks(pages):
    page = pages("ICDDT")
    add = {"type": "add", "where": "found"}
    history = page.edited([], add | {"item": 4}, "view")
    history = page.edited(history, add | {"item": 7}, "buy")
    assert history == [[4, "view"], [7, "buy"]]
    assert page.edited(history, {"type": "up", "place": 1}) == [[7, "buy"], [4, "view"]]
    assert page.edited(history, {"type": "remove", "place": 0}) == [[7, "buy"]]
    assert page.edited(history, {"type": "behave", "place": 0})[0] == [4, "buy"]
    assert page.edited(history, "clear") == []
    assert history == [[4, "view"], [7, "buy"]]  # nothing is changed in place
    assert {behavior for _, behavior in page.edited(history, "sample")} == {"buy"}
    assert pages("SASRec").edited([], add | {"item": 4}) == [[4, None]]


def test_a_title_with_tags_is_a_text(pages, nasty):
    page = pages("SASRec")
    number = page.catalogue.tokens.index("i3")
    listed, *_ = page.shown(0, page.asked([[number, None]], None, None), [], 20)
    assert nasty in json.dumps([one.to_plotly_json() for one in listed], default=str)
    with application(page).server.test_client() as client:
        assert "<script>hacked" not in client.get("/").text
    assert page.found("number 12")[0][1:] == ("Thing number 12", "i12")


def test_a_moved_list_is_marked_and_names_what_left(pages):
    page = pages("DreamRec")
    asked = page.asked([[1, None], [2, None]], None, None)
    own = [control.own for control in page.tried[0].controls]
    _, state, _, before = page.shown(0, asked, own, 10)
    assert state.startswith("The run's own settings")
    listed, state, _, after = page.shown(0, asked, [own[0], 0, own[2]], 10)  # one step of DDIM
    assert state.startswith("Marked") and before != after
    text = json.dumps([one.to_plotly_json() for one in listed], default=str)
    assert ("new, was" in text) == ("Left the list" in text) == (set(before) != set(after))
    assert page.values(0, [own[0], 0, own[2]])[1] == "1 by DDIM (run: 4 in closed form)"
    assert page.overlap([before, after]) == (
        f"{len(set(before) & set(after))} of 10 items stand in both lists."
    )
    assert page.overlap([before, None]) == ""


def test_an_older_question_of_the_same_visit_is_not_answered(pages):
    page = pages("DreamRec")
    asked = page.asked([[1, None]], None, None)
    own = [control.own for control in page.tried[0].controls]
    older, other, newer = page.begin(5, 0), page.begin(6, 0), page.begin(5, 0)
    assert page.shown(0, asked, own, 5, older) is None
    assert page.shown(0, asked, own, 5, newer) and page.shown(0, asked, own, 5, other)


def test_users_are_found_by_the_beginning_of_their_ids(pages):
    page = pages("LightGCN")
    assert page.users_like("U1")[:2] == ["u1", "u10"]
    assert page.users_like("nobody") == []
    _, _, _, listed = page.shown(0, page.asked([], "u3", None), [], 5)
    assert len(listed) == 5


def test_the_page_asks_this_server_alone_and_is_reached_by_its_own_names(pages):
    client = application(pages("SASRec"), ["127.0.0.1"]).server.test_client()
    answer = client.get("/", headers={"Host": "127.0.0.1:8050"})
    assert answer.status_code == 200
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert "https://" not in answer.text and "http://" not in answer.text
    assert client.get("/", headers={"Host": "elsewhere.example"}).status_code == 400
    sent = client.post("/_dash-update-component", data=b" " * (1 << 21),
                       headers={"Host": "127.0.0.1"}, content_type="application/json")  # fmt: skip
    assert sent.status_code == 413


@pytest.mark.parametrize(
    "options, words",
    [
        (["--port=70000"], "port 70000 is not in 0..65535"),
        (["--host=not a host"], "cannot listen on not a host"),
        (["--colour=red"], "--colour=red"),
        (["--items=nowhere.item"], "nowhere.item cannot be read"),
        (["--compare=nowhere.pth"], "there is no checkpoint nowhere.pth"),
        (["--checkpoint=nowhere.pth"], "there is no checkpoint nowhere.pth"),
        (["--checkpoint=foreign.pth"], "foreign.pth"),
    ],
)
def test_mistakes_of_the_command_are_said_in_one_line(
    checkpoint, capsys, tmp_path, monkeypatch, options, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "foreign.pth").write_bytes(b"of another program")
    arguments = ["explore", f"--checkpoint={checkpoint('Pop')}", "--port=0", *options]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_a_port_in_use_is_said_in_one_line(checkpoint, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["explore", f"--checkpoint={checkpoint('Pop')}", f"--port={port}"]) == 2
    error = capsys.readouterr().err
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in error

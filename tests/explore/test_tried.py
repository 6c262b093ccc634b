"""A list on the page is that of the recommender with the same settings, and a moved control comes
back."""

import json

import numpy as np
import pandas as pd
import pytest

from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.data.lines import DataError
from recbole_diffusion.explore.catalogue import Catalogue, titles_of
from recbole_diffusion.explore.histories import table_of
from recbole_diffusion.explore.item_map import walked
from recbole_diffusion.explore.lists import Asked, compared, moved, ranking
from recbole_diffusion.recommend.recommender import load

HISTORY = [("i1", "view"), ("i2", "buy"), ("i3", "buy")]
ASKED = Asked(HISTORY, user="u3")
CONTROLS = {
    "ICDDT": ["steps", "samples"],
    "DreamRec": ["guidance_weight", "steps", "samples"],
    "DimeRec": ["steps", "samples"],
    "DiffRec": ["steps", "sampling_steps", "samples"],
    "SASRec": [],
    "MultiVAE": [],
    "LightGCN": [],
    "Pop": [],
}
MOVED = [(model, name) for model, names in CONTROLS.items() for name in names]


def given(recommender, asked=ASKED):
    if recommender.reads in ("sequence", "row"):
        return {"histories": table_of(recommender, asked.history)}
    return {"users": [asked.user]}


def places_with(one, name, place):
    return [place if c.name == name else c.own for c in one.controls]


@pytest.mark.parametrize("model", CONTROLS)
def test_a_list_is_that_of_the_recommender(tried, model):
    one = tried(model)
    expected = one.recommender.recommend(**given(one.recommender), k=5)
    listed = one.answer(ASKED, k=5).listed
    assert [place.item for place in listed] == list(expected["item_id"])
    assert [place.score for place in listed] == list(expected["score"])
    assert [place.rank for place in listed] == [place.before for place in listed] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("model", CONTROLS)
def test_a_model_has_the_controls_of_its_walk(tried, model):
    one = tried(model)
    assert [control.name for control in one.controls] == CONTROLS[model]
    assert ("no reverse walk" in one.about()) == (not CONTROLS[model])
    assert (one.answer(ASKED).figure is not None) == (model in ("ICDDT", "DreamRec", "DimeRec"))
    for control in one.controls:
        assert len(control.values) == len(control.changes) > 1
        assert control.changes[control.own] == {}


@pytest.mark.parametrize("model, name", MOVED)
def test_a_moved_control_changes_the_scores_and_moving_it_back_restores_them(tried, model, name):
    one = tried(model)
    control = next(control for control in one.controls if control.name == name)
    other = 0 if control.own else len(control.values) - 1
    before = ranking(one.recommender, ASKED)
    # DiffRec's history is corrupted here: without that no noise is drawn.
    start = places_with(one, "sampling_steps", 2)
    places = [other if c.name == name else place for c, place in zip(one.controls, start)]
    first, second = (
        ranking(one.recommender, ASKED, *moved(one.recommender, one.controls, some)).set_index(
            "item"
        )
        for some in (start, places)
    )
    assert (first["score"] - second["score"]).abs().max() > 0
    pd.testing.assert_frame_equal(ranking(one.recommender, ASKED), before)
    answer = one.answer(ASKED, places_with(one, name, control.own), k=5)
    assert [p.item for p in answer.listed] == list(before["item"][:5]) and not answer.moved


@pytest.mark.parametrize(
    "model, name, place, change",
    [
        ("DreamRec", "guidance_weight", -1, lambda m: {"guidance_weight": 10.0}),
        ("DreamRec", "steps", 1, lambda m: {"sampler": "ddim", "levels": m.levels_of(2)}),
        ("ICDDT", "steps", 1, lambda m: {"levels": m.levels_of(2)}),
        ("DimeRec", "steps", 3, lambda m: {"levels": m.levels_of(4)}),
        ("DiffRec", "sampling_steps", 4, lambda m: {"sampling_steps": 4}),
    ],
)
def test_a_moved_list_is_that_of_a_model_with_the_setting(
    checkpoint, tried, model, name, place, change
):
    other = load(checkpoint(model))
    for key, value in change(other.model).items():
        setattr(other.model, key, value)
    other.model.eval()
    one = tried(model)
    control = next(control for control in one.controls if control.name == name)
    places = places_with(one, name, range(len(control.values))[place])
    listed = one.answer(ASKED, places, k=5).listed
    expected = other.recommend(**given(other), k=5)
    assert [(p.item, p.score) for p in listed] == list(zip(expected["item_id"], expected["score"]))


def test_several_samples_are_the_mean_over_the_seeds_that_follow(checkpoint, tried):
    one = tried("DreamRec")
    seed = one.recommender.seed
    each = [
        load(checkpoint("DreamRec"), seed=seed + number).score(**given(one.recommender)).iloc[0]
        for number in range(2)
    ]
    found = ranking(one.recommender, ASKED, samples=2).set_index("item")["score"]
    mean = (each[0].astype(float) + each[1]) / 2
    np.testing.assert_allclose(found.loc[mean.index], mean, rtol=1e-6)
    assert one.recommender.seed == seed


def test_the_behaviour_to_predict_and_those_of_the_history_matter_to_icddt_alone(tried):
    lists = {}
    for model in ("ICDDT", "SASRec"):
        one = tried(model)
        others = [(item, "view") for item, _ in HISTORY]
        asked = [ASKED, ASKED._replace(target_behavior="view"), Asked(others)]
        lists[model] = [[p.score for p in one.answer(a, k=5).listed] for a in asked]
    assert len(set(map(tuple, lists["ICDDT"]))) == 3
    assert len(set(map(tuple, lists["SASRec"]))) == 1  # the control
    assert "bought" in tried("ICDDT").answer(ASKED._replace(target_behavior="bought")).words


def test_items_that_enter_leave_and_move_are_told():
    own = pd.DataFrame({"item": list("abcd"), "score": [4.0, 3.0, 2.0, 1.0]})
    now = pd.DataFrame({"item": list("cbda"), "score": [9.0, 8.0, 7.0, 6.0]})
    listed, left = compared(now, own, 3)
    assert [(p.item, p.rank, p.before) for p in listed] == [("c", 1, 3), ("b", 2, 2), ("d", 3, 4)]
    assert left == [("a", 1, 4)]
    assert compared(own, own, 3)[1] == []
    assert compared(now[:3], own, 3)[1] == [("a", 1, None)]


@pytest.mark.parametrize(
    "model, asked, words",
    [
        ("SASRec", Asked([]), "Add an item"),
        ("SASRec", Asked([("unheard", None)]), "knows none of these items"),
        ("LightGCN", Asked(HISTORY), "Choose a user"),
    ],
)
def test_why_there_is_no_list_is_said(tried, model, asked, words):
    answer = tried(model).answer(asked)
    assert words in answer.words and not answer.listed


def test_items_that_the_model_does_not_know_are_counted(tried):
    answer = tried("SASRec").answer(Asked([*HISTORY, ("unheard", None)]), k=5)
    assert answer.unknown == 1 and len(answer.listed) == 5


# ---------------------------------------------------------------- the map
def test_the_path_goes_over_the_levels_to_the_generated_vector(tried):
    one = tried("ICDDT")
    for steps in (2, 4):
        found = walked(one.recommender, ASKED, {"levels": one.recommender.model.levels_of(steps)})
        (path,) = found.paths
        assert [level for level, _ in path] == list(range(steps, -1, -1)) and not found.closed
        np.testing.assert_array_equal(path[-1][1].astype(np.float32), found.ends[0])
    own = one.recommender.embed_users(table_of(one.recommender, HISTORY)).to_numpy()[0]
    np.testing.assert_array_equal(walked(one.recommender, ASKED).ends[0], own)


def test_beside_a_closed_form_the_path_of_ddim_is_drawn(tried):
    recommender = tried("DreamRec").recommender
    found = walked(recommender, ASKED)
    assert found.closed and len(found.paths[0]) == recommender.model.diffusion.steps + 1
    other = walked(recommender, ASKED, {"sampler": "ddim"})
    assert not other.closed
    np.testing.assert_array_equal(found.paths[0][0][1], other.paths[0][0][1])  # the same noise


def test_the_map_shows_history_list_and_path_with_titles_that_are_inert(tried):
    pytest.importorskip("plotly", reason="the extra `explore` is not installed")
    one = tried("ICDDT")
    figure = json.loads(one.answer(ASKED, k=5).figure.to_json())
    kinds = {trace["name"]: trace for trace in figure["data"]}
    assert [len(kinds[name]["x"]) for name in ("item", "in the list", "in the history")] == [
        *(20, 5, 3)
    ]
    assert kinds["reverse walk"]["text"] == [f"level {n}" for n in (4, 3, 2, 1, 0)]
    star, end = kinds["generated vector"], kinds["reverse walk"]
    assert (star["x"][0], star["y"][0]) == (end["x"][-1], end["y"][-1])
    assert any("&lt;script&gt;" in text for text in kinds["in the history"]["text"])
    assert "<script" not in json.dumps(figure) and "<img" not in json.dumps(figure)


# ---------------------------------------------------------------- items
def test_items_are_found_by_words_of_their_titles_and_by_ids(tried, nasty):
    catalogue = tried("SASRec").catalogue
    names = [catalogue.tokens[n] for n in catalogue.search("thing 12")]
    assert names == ["i12"] and catalogue.title("i12") == "Thing number 12"
    assert catalogue.tokens[catalogue.search("i1")[0]] == "i1"  # before i10
    assert catalogue.title("i3") == nasty and catalogue.search("nowhere") == []
    counts = [catalogue.count[n] for n in catalogue.search("")]
    assert counts == sorted(catalogue.count, reverse=True)[: len(counts)]
    some = catalogue.some(np.random.default_rng(0))
    assert len(set(some)) == 5


def test_titles_come_from_a_file_that_is_named_or_lies_with_the_data(tried, tmp_path):
    recommender = tried("SASRec").recommender
    assert titles_of(recommender)["i1"] == "Thing number 1"
    (tmp_path / "a.item").write_text("item_id:token\tname:token\ni1\tone thing\ni2\t\n")
    assert titles_of(recommender, tmp_path / "a.item") == {"i1": "one thing"}
    catalogue = Catalogue([recommender], {"i1": "one thing"})
    assert catalogue.title("i2") == "i2"


@pytest.mark.parametrize(
    "text, words",
    [
        (None, "cannot be read: No such file"),
        ("item:token\tname:token\n1\ta\n", "has no column item_id"),
        ("item_id:token\tprice:float\ni1\t3\n", "has no column of titles"),
        ("item_id\tname\ni1\t3\n", "line 1"),
        ("item_id:token\tname:token\ni1\ta\tb\n", "line 2: 3 fields"),
    ],
)
def test_a_file_of_titles_that_cannot_be_used_is_refused(tried, tmp_path, text, words):
    file = tmp_path / "some.item"
    if text:
        file.write_text(text)
    with pytest.raises((DataError, ConfigError), match=words):
        titles_of(tried("SASRec").recommender, file)

"""Reverse steps by evidence: the fewest that rank as all do, in every model that walks."""

import json
from logging import INFO
from pathlib import Path

import pytest
import torch

from recbole_diffusion.config.config import Config
from recbole_diffusion.config.names import get_model
from recbole_diffusion.diffusion.gaussian import GaussianDiffusion
from recbole_diffusion.diffusion.reverse import ancestral
from recbole_diffusion.diffusion.row_noise import normal_like
from recbole_diffusion.diffusion.schedules import SCHEDULES
from recbole_diffusion.diffusion.timesteps import Uniform
from recbole_diffusion.model.next_item import NextItemDiffusion
from recbole_diffusion.recommend import load
from recbole_diffusion.saved_run import load_run
from recbole_diffusion.trainer import checkpoint, short_walks
from recbole_diffusion.trainer.checkpoint import CheckpointError
from recbole_diffusion.trainer.short_walks import fewest

PROPERTIES = Path(__file__).parents[2] / "properties"


class Theirs(NextItemDiffusion):
    """A model of somebody else's, with no word about its number of steps beyond the base."""

    croppable = True

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.diffusion = GaussianDiffusion.from_betas(SCHEDULES["sqrt"](config["diffusion_steps"]))
        self.timesteps, self.step = Uniform(self.diffusion.steps), ancestral(self.diffusion)
        self.levels = self.levels_of(self.diffusion.steps)
        self.network = torch.nn.Linear(2 * self.hidden_size, self.hidden_size)

    def guidance(self, interaction):
        return self.embed(interaction[self.ITEM_SEQ]).sum(dim=1)

    def forward(self, x_t, t, guidance):
        return self.network(torch.cat([x_t, guidance], dim=1))


AUTO = {"walk_steps": "auto"}
MODELS = {
    "ICDDT": AUTO,
    "ICDDT, its own key": {"truncation": "auto"},
    "DiffuRec": AUTO,
    "DimeRec": AUTO,
    "DreamRec": AUTO | {"sampler": "ddim", "sampling_steps": 2},
    "DiffRec": AUTO | {"steps": 4},
    "TDiffRec": AUTO | {"steps": 4},
    "LDiffRec": AUTO | {"steps": 4},
    "LTDiffRec": AUTO | {"steps": 4},
    "Theirs": AUTO
    | {"diffusion_steps": 4, "hidden_size": 8, "ablate_x_t": False, "train_neg_sample_args": None},
}
T = 4


def slow(names, *fast):
    """The names, of which those that are not ``fast`` run with the slow tests."""
    marks = {True: (), False: pytest.mark.slow}
    return [pytest.param(name, marks=marks[name in fast]) for name in names]


@pytest.fixture
def train(run, monkeypatch):
    """Gives a function from a name of ``MODELS`` to the result of a run in which lists of 3 count.

    The embeddings and scores are ``ranking(model, rows, n)``, if there is one, of shape [B, n].
    """
    monkeypatch.setattr(short_walks, "TOP", 3)

    def train(name, ranking=None, **settings):
        model = Theirs if name == "Theirs" else name.partition(",")[0]
        kind = model if model is Theirs else get_model(model)
        if ranking and issubclass(kind, NextItemDiffusion):

            def generate(self, guidance):
                first = guidance[0] if isinstance(guidance, tuple) else guidance
                return ranking(self, torch.empty(len(first), self.hidden_size))

            monkeypatch.setattr(kind, "generate", generate)
        elif ranking:
            scored = lambda self, user: ranking(self, torch.empty(len(user), self.n_items))  # noqa
            monkeypatch.setattr(kind, "scores", scored)
        return run(model, **MODELS[name] | settings)

    return train


def turning(steps):
    """Scores that turn round where the walk has fewer steps than these; nothing is drawn."""

    def ranking(model, like):
        side = 1.0 if len(model.levels) - 1 >= steps else -1.0
        return side * torch.arange(like.shape[1]).expand(like.shape).float()

    return ranking


def drawn(model, like):
    """Scores that are nothing but noise, whatever the walk."""
    return normal_like(like)


# ---------------------------------------------------------------- the law
@pytest.mark.parametrize("most", [1, 2, 7, 16, 500])
def test_the_fewest_that_are_enough_are_found_and_none_is_asked_twice(most):
    for least in {1, 2, 3, most // 2 + 1, most - 1, most} & set(range(1, most + 1)):
        asked = []

        def enough(number, least=least, asked=asked):
            asked.append(number)
            return number >= least

        assert fewest(most, enough) == least
        assert len(asked) == len(set(asked)) <= 2 * most.bit_length() and most not in asked


@pytest.mark.parametrize("steps", [1, 3, 4])
@pytest.mark.parametrize(
    "name", slow(["ICDDT, its own key", "DimeRec", "DiffRec", "Theirs"], "Theirs", "DiffRec")
)
def test_a_walk_is_as_short_as_its_lists_stay_those_of_all_levels(name, steps, train):
    found = train(name, turning(steps))["walk"]
    assert (found["steps"], found["of"], found["draws"]) == (steps, T, False)
    assert found["agreement_between_seeds"] == 1 and found["needed"] == short_walks.ALIKE
    shares = {one["steps"]: one["agreement"] for one in found["tried"]}
    assert all((share >= found["needed"]) == (count >= steps) for count, share in shares.items())
    assert steps == 1 or steps - 1 in shares  # that one fewer is not enough was seen


def test_where_walks_draw_they_need_agree_only_as_two_walks_over_all_levels_do(train):
    found = train("DimeRec", drawn)["walk"]
    assert found["draws"] and found["agreement_between_seeds"] < 0.5  # of 3 out of 20 items
    assert found["needed"] == pytest.approx(found["agreement_between_seeds"] * 0.99)
    shares = {one["steps"]: one["agreement"] for one in found["tried"]}
    assert all((share >= found["needed"]) == (n >= found["steps"]) for n, share in shares.items())


def test_lists_alike_are_not_enough_where_the_metric_moves(train, monkeypatch):
    monkeypatch.setattr(short_walks, "ALIKE", 0.0)
    by = {"topk": [5], "valid_metric": "Hit@5"}
    assert train("DiffRec", turning(3), **by)["walk"]["steps"] == 3
    monkeypatch.setattr(short_walks, "AS_GOOD", 1.0)
    assert train("DiffRec", turning(3), **by)["walk"]["steps"] == 1  # the control


@pytest.mark.parametrize("count, levels", [(1, [9, 0]), (2, [9, 1, 0]), (4, [9, 6, 4, 1, 0])])
def test_a_short_walk_ends_as_the_full_one_does(count, levels, assemble):
    for name, key in (("DimeRec", "diffusion_steps"), ("DiffRec", "steps")):
        model = assemble(name, walk_steps=count, **{key: 9})[0].model
        assert model.levels == levels and model.short_levels(9) == list(range(9, -1, -1))
        with pytest.raises(ValueError, match="10 steps over 9 levels"):
            model.short_levels(10)


# ---------------------------------------------------------------- every model
@pytest.mark.parametrize("name", slow(MODELS, "DreamRec", "Theirs"))
def test_every_model_that_walks_says_why_it_takes_its_steps(name, train, caplog):
    caplog.set_level(INFO)
    result = train(name, result_file="result.json")
    found = result["walk"]
    assert json.loads(Path("result.json").read_text())["walk"] == found
    assert 1 <= found["steps"] <= found["of"] == T
    assert {"steps", "agreement", "valid_score", "seconds"} == set(found["tried"][0])
    assert found["tried"][-1]["steps"] == T and found["seconds"] > 0
    assert found["valid_result_full_walk"].keys() == result["best_valid_result"].keys()
    begun = caplog.text.index(f"walk: how few steps rank the validation rows as all {T} do?")
    assert begun < caplog.text.index(f"walk: {found['steps']} of {T} steps from here on")
    assert caplog.text.count("agree") > len(found["tried"]) - 1  # progress
    best, last = (
        checkpoint.load(result["checkpoint"].replace(".best.", f".{kind}."))
        for kind in ("best", "last")
    )
    assert best["other_parameter"]["found_steps"] == found["steps"]
    assert best["walk_report"] == found and last["other_parameter"]["found_steps"] == 0


@pytest.mark.parametrize("name, settings", [("SASRec", {}), ("DreamRec", {"sampler": "exact"})])
def test_a_model_without_a_walk_that_could_be_shorter_is_left_as_it_is(name, settings, run, caplog):
    caplog.set_level(INFO)
    found, plain = (run(name, epochs=1, **settings, walk_steps=steps) for steps in ("auto", None))
    assert f"walk_steps: auto: {name} has no walk that could be shorter" in caplog.text
    assert found["walk"] is plain["walk"] is None
    assert found["test_result"] == plain["test_result"]


@pytest.mark.parametrize("name", slow(["ICDDT", "DiffRec", "DimeRec"], "DiffRec"))
def test_the_search_changes_nothing_of_the_training(name, train):
    def trained(result):
        state = checkpoint.load(result["checkpoint"])
        weights = {name: value.tolist() for name, value in state["state_dict"].items()}
        weights.pop("walk_steps", None)
        return result["best_valid_result"], result["epochs"], weights

    plain, found = train(name, walk_steps=None), train(name)
    assert plain["walk"] is None and found["walk"] is not None
    assert trained(plain) == trained(found)


PUBLISHED = sorted(file.stem for file in PROPERTIES.glob("model/*@*.yaml"))


@pytest.mark.parametrize("pair", PUBLISHED)
def test_published_runs_take_all_their_steps(pair):
    model, dataset = pair.split("@")
    assert Config(model, dataset)["walk_steps"] is None
    assert Config(model, dataset, config_dict=AUTO)["walk_steps"] == "auto"  # unless one asks


# ---------------------------------------------------------------- kept, resumed, overruled
class Killed(Exception):
    pass


@pytest.mark.parametrize("name", slow(["ICDDT, its own key", "DiffRec", "LDiffRec"], "DiffRec"))
def test_a_run_that_was_killed_in_the_search_ends_as_one_left_alone(name, train, monkeypatch):
    def outcome(result):
        state = checkpoint.load(result["checkpoint"])
        found = result["walk"] | {"seconds": 0}
        found["tried"] = [one | {"seconds": 0} for one in found["tried"]]
        weights = {name: value.tolist() for name, value in state["state_dict"].items()}
        return result["test_result"], found, weights, state["other_parameter"]

    whole = outcome(train(name, turning(3), checkpoint_dir="whole"))
    with monkeypatch.context() as patch:
        left = iter(range(2))

        def collect(self, scores, *rows):
            if next(left, None) is None:
                raise Killed
            self.lists.append(scores.topk(3).indices)

        patch.setattr(short_walks.TopLists, "collect", collect)
        with pytest.raises(Killed):
            train(name, turning(3), checkpoint_dir="killed")
    resumed = train(name, turning(3), checkpoint_dir="killed", resume=True)
    assert outcome(resumed) == whole
    monkeypatch.setattr(short_walks.ShortWalkHooks, "find_steps", None)  # it is not decided again
    again = train(name, turning(3), checkpoint_dir="killed", resume=True)
    assert outcome(again) == whole and again["walk"] == resumed["walk"]


@pytest.mark.parametrize(
    "name", slow(["ICDDT, its own key", "DimeRec", "DiffRec", "LDiffRec"], "ICDDT, its own key")
)
def test_who_opens_a_checkpoint_walks_as_was_found_or_as_they_say(name, train):
    file = train(name, turning(3), epochs=1)["checkpoint"]

    def steps(**settings):
        return len(load_run(file, **settings).trainer.model.levels) - 1

    assert steps() == len(load(file).model.levels) - 1 == 3
    assert steps(walk_steps=2) == 2
    if name == "ICDDT, its own key":
        assert steps(truncation=1.0) == 4
    else:
        assert steps(walk_steps=None) == (2 if name == "DimeRec" else 4)


def test_a_number_stands_in_for_the_walk_of_the_model_in_training_too(run):
    result = run("DimeRec", walk_steps=3, epochs=1)
    assert result["walk"] is None
    assert len(load_run(result["checkpoint"]).trainer.model.levels) == 4


@pytest.mark.parametrize(
    "name, settings, message",
    [
        ("DiffRec", {"walk_steps": 6}, "6 steps over 5 levels"),
        ("ICDDT", {"walk_steps": 5}, "5 steps over 4 levels"),
        ("DreamRec", {"walk_steps": 3}, "walk_steps 3: the sampler exact takes no fewer steps"),
        ("DimeRec", {"walk_steps": 0}, "walk_steps is 0, it must be"),
        ("DimeRec", {"walk_steps": "few"}, "walk_steps is 'few', it must be"),
    ],
)
def test_a_number_that_cannot_be_is_refused_with_the_reason(name, settings, message, run):
    with pytest.raises(ValueError, match=message):
        run(name, **settings)


@pytest.mark.parametrize("steps", [5, 2.5])
def test_a_checkpoint_with_steps_that_cannot_be_is_refused(steps, train):
    file = train("DiffRec", epochs=1)["checkpoint"]
    state = checkpoint.load(file)
    state["other_parameter"]["found_steps"] = steps
    checkpoint.save(file, state)
    for open_it in (load_run, load):
        with pytest.raises(CheckpointError, match="other_parameter of .* do not fit"):
            open_it(file)


def test_a_checkpoint_of_before_opens_with_the_walk_of_its_settings(train):
    file = train("DimeRec", walk_steps=None, epochs=1)["checkpoint"]
    state = checkpoint.load(file)
    del state["other_parameter"]["found_steps"]
    checkpoint.save(file, state)
    assert len(load_run(file).trainer.model.levels) - 1 == 2

"""Pictures: what is drawn is what is measured, and the model is left as it was."""

import html
import json
import random
import sys
from collections import Counter
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType

from recbole_diffusion.cli.main import main
from recbole_diffusion.diffusion.gaussian import GaussianDiffusion
from recbole_diffusion.diffusion.reverse import ddim, evenly_spaced, walk
from recbole_diffusion.diffusion.schedules import SCHEDULES
from recbole_diffusion.evaluator.curves import changed, guidance_curve, steps_curve
from recbole_diffusion.pictures import pictures, plots
from recbole_diffusion.pictures.pictures import draw, item_map, numbers, project
from recbole_diffusion.quick_start.quick_start import run_recbole_diffusion
from recbole_diffusion.quick_start.saved_run import load_run
from recbole_diffusion.trainer.randomness import own_randomness
from recbole_diffusion.trainer.scoring import ScoresError

NEVER = "</script><b>new&"
TAGGED = "<b>3&"


def history(user, rows):
    """What training looks at: all before the user's last purchase but one."""
    mine = [row for row in rows if row[0] == user]
    bought = [place for place, row in enumerate(mine) if row[2] == "buy"][1:]  # the first stays
    kept = mine[: bought[-2:][0]] if bought else mine
    return kept if len(kept) > 1 else []


@pytest.fixture(scope="module")
def market(tmp_path_factory, write_inter):
    """Writes data of 30 users and 21 items, one of which is only ever a test row, and goes there.

    Yields:
        list: the rows.
    """
    folder = tmp_path_factory.mktemp("market")
    draw = random.Random(3)
    rows = []
    for user in range(30):
        item = draw.randrange(20)
        for time in range(9):
            token = TAGGED if item == 3 else f"i{item}"
            rows.append((f"u{user}", token, draw.choice(["view", "buy", "buy"]), time))
            item = (item + 1) % 20 if draw.random() < 0.8 else draw.randrange(20)
    rows.append(("u0", NEVER, "buy", 9))
    write_inter(folder / "dataset", "market", rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield rows


@pytest.fixture(scope="module")
def train(market, small):
    """Gives a function from a model and settings to the checkpoint of a small run."""

    def train(model="DreamRec", **settings):
        settings = {"guidance_weight": 2.0, "valid_metric": "MRR@5"} | settings
        return run_recbole_diffusion(model, "market", config_dict=small(model, **settings))[
            "checkpoint"
        ]

    return train


@pytest.fixture(scope="module")
def file(train):
    return train()


@pytest.fixture(scope="module")
def drawn(file):
    """All pictures of DreamRec with its exact walk."""
    return draw(file, "all", method="pca", weights=[0, 50], rows=7)


def draw_map(run):
    item_map(run, "pca", 5)


def guidance_of(run):
    guidance_curve(run.trainer, run.valid_data, [0.0])


def steps_of(run):
    steps_curve(run.trainer, run.valid_data, [1])


def data_of(page):
    """The traces and the layout in a page, as the browser reads them."""
    text = Path(page).read_text(encoding="utf-8")
    call = text[text.rindex("Plotly.newPlot(") :]
    decoder = json.JSONDecoder()
    traces, end = decoder.raw_decode(call, call.index("["))
    return traces, decoder.raw_decode(call, call.index("{", end))[0]


# ---------------------------------------------------------------- files
def test_every_picture_is_an_image_and_a_page_that_needs_no_network(drawn):
    names = ["item_map", "guidance", "steps"]
    assert drawn["files"] == [f"all/{name}.{kind}" for name in names for kind in ("png", "html")]
    for name in names:
        image = matplotlib.image.imread(f"all/{name}.png")[..., :3]
        assert image.shape[0] > 400 and image.shape[1] > 700
        inked = (image < 0.9).any(axis=-1).mean()
        assert 0.01 < inked < 0.5, "neither blank nor black"
        page = Path(f"all/{name}.html").read_text(encoding="utf-8")
        assert "<script src=" not in page and len(page) > 1_000_000  # plotly itself is inside


def near(image, color):
    """How many dots of an image have a colour."""
    wanted = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return int((np.abs(image - wanted).max(axis=-1) < 0.02).sum())


def test_the_images_show_items_vectors_and_curves_in_their_colours(drawn):
    for name in ("guidance", "steps"):
        image = matplotlib.image.imread(f"all/{name}.png")[..., :3]
        assert near(image, plots.BLUE) > 300 and near(image, plots.VERMILION) > 300
    image = matplotlib.image.imread("all/item_map.png")[..., :3]
    image = image[:, : image.shape[1] * 3 // 4]  # without the bar of colours
    assert near(image, plots.VERMILION) > 7 * 20
    greener = image[..., 1] > image[..., 0] + 0.1  # than red: of Viridis, never of vermilion
    assert greener.sum() > 10 * 20


def test_the_page_of_a_curve_holds_the_numbers(drawn):
    for kind, horizontal in (("guidance", 0), ("steps", 2)):
        curve = drawn[kind]
        traces, layout = data_of(f"all/{kind}.html")
        lines = [trace for trace in traces if trace["mode"] == "lines+markers"]
        expected = [
            [value[metric] for value in values]
            for metric in ("mrr@5", "ndcg@5")
            for values in (curve.values, curve.barred)
        ]
        assert [trace["y"] for trace in lines] == expected
        assert all(trace["x"] == curve.x for trace in lines)
        assert len([t for t in traces if t["mode"] == "lines"]) == 2 * horizontal
        assert layout["yaxis"]["title"]["text"].startswith("MRR@5, mean over")
        assert layout["yaxis2"]["title"]["text"].startswith("NDCG@5, mean over")
        assert layout["yaxis"]["range"][1] > max(map(max, expected[:2]))


def test_the_page_of_the_map_holds_tokens_that_cannot_break_it(drawn):
    traces, _ = data_of("all/item_map.html")
    trained, never, generated = traces
    for trace, name in zip(traces, ("trained", "never_trained", "generated")):
        xy = getattr(drawn["map"], name).xy
        np.testing.assert_allclose([trace["x"], trace["y"]], xy.T, atol=1e-4)
    words = [f"item {html.escape(TAGGED)}<br>", f"item {html.escape(NEVER)}<br>0 interactions"]
    assert sum(text.startswith(words[0]) for text in trained["text"]) == 1
    assert [text.startswith(words[1]) for text in never["text"]] == [True]
    counts = dict(zip(drawn["map"].trained.words, drawn["map"].trained.popularity))
    for text, token in zip(trained["text"], drawn["map"].trained.words):
        assert text == f"item {html.escape(token)}<br>{counts[token]} interactions in training"
    assert len(generated["text"]) == 7 and never["name"] == "never-trained items: 1"
    assert NEVER not in Path("all/item_map.html").read_text(encoding="utf-8")


# ---------------------------------------------------------------- the curves
def evaluated(run):
    """The two metrics of a run on validation, and the same with never-trained items barred."""
    both = run.trainer.evaluate(run.valid_data), run.trainer.never_trained["barred"]
    return [{name: result[name] for name in ("mrr@5", "ndcg@5")} for result in both]


def test_at_a_weight_the_curve_is_what_a_run_with_it_measures(drawn, file):
    curve = drawn["guidance"]
    assert curve.x == [0, 2, 50] and curve.own == 2  # 2 is the model's own
    for weight, value, barred in zip(curve.x, curve.values, curve.barred):
        assert [value, barred] == evaluated(load_run(file, guidance_weight=weight))
    assert [curve.values[1], curve.barred[1]] == evaluated(load_run(file))
    assert curve.values[0] != curve.values[1] != curve.values[2]  # the control


def test_at_a_count_the_curve_is_what_a_run_with_it_measures(drawn, file):
    curve = drawn["steps"]
    assert curve.x == [1, 2] and curve.own is None  # 5, 10 and 20 are more than there are levels
    for count, value, barred in zip(curve.x, curve.values, curve.barred):
        walk = {"sampler": "ddim", "sampling_steps": count}
        assert [value, barred] == evaluated(load_run(file, **walk))
    name, value, barred = curve.line
    assert [value, barred] == evaluated(load_run(file)) and name.startswith("exact walk over all 4")
    assert value not in curve.values  # the control


def test_a_model_that_walks_by_ddim_has_its_own_count_on_the_curve(train):
    report = draw(train(denoiser="mlp", sampling_steps=3), "ddim", ["steps"], steps=[4, 1, 4])
    curve = report["steps"]
    assert curve.x == [1, 3, 4] and curve.own == 3 and curve.line is None
    assert "3 (the model's)" in numbers(report) and list(report) == ["title", "files", "steps"]


def test_where_all_items_are_trained_or_others_no_candidates_nothing_is_barred(file):
    curve = draw(file, "one", ["guidance"], candidates="trained")["guidance"]
    assert curve.barred == [] and curve.values
    traces, _ = data_of("one/guidance.html")
    assert not [trace for trace in traces if trace["name"] == plots.BARRED]


def test_one_metric_is_one_panel(file):
    curve = draw(file, "one", ["guidance"], valid_metric="ndcg@10")["guidance"]
    assert [list(value) for value in curve.values] == [["ndcg@10"]] * 4


# ---------------------------------------------------------------- the map
def test_popularity_counts_what_training_looks_at(drawn, market, file):
    users = {row[0] for row in market}
    seen = Counter(row[1] for user in users for row in history(user, market))
    dots = drawn["map"].trained
    assert dict(zip(dots.words, dots.popularity)) == seen
    assert dots.popularity == sorted(dots.popularity)  # the popular ones on top
    assert drawn["map"].never_trained.words == [NEVER]
    trainer = load_run(file).trainer
    tokens = trainer.dataset.field2id_token["item_id"]
    assert set(dots.words) == {tokens[i] for i in trainer.trained_items.nonzero()}


def test_a_perfect_generator_lies_on_its_targets_whatever_its_length(file):
    run = load_run(file)
    model = run.trainer.model
    model.guidance = lambda rows: F.embedding(rows["item_id"], model.items())
    for scale in (1, 900):
        model.generate = lambda h, scale=scale: scale * h
        found = item_map(run, "pca", 12)
        place = dict(zip(found.trained.words, found.trained.xy))
        assert len(found.generated.xy) == 12
        target = np.array([place[word] for word in found.generated.words])
        np.testing.assert_allclose(found.generated.xy, target, atol=1e-4)
        assert found.lengths == pytest.approx((8**0.5, scale * 8**0.5), rel=1e-4)
    model.generate = lambda h: -h  # the control
    found = item_map(run, "pca", 12)
    assert not np.allclose(found.generated.xy, target, atol=1e-1)


def test_the_axes_of_pca_are_those_of_the_trained_items():
    items, others = np.random.default_rng(0).normal(size=(2, 30, 6))
    names, xy = project("pca", items, others, 0)
    assert names[0].startswith("component 1 (") and xy.shape == (60, 2)
    np.testing.assert_allclose(xy[:30], project("pca", items, 100 + others, 0)[1][:30])
    np.testing.assert_allclose(xy[:30].mean(axis=0), 0, atol=1e-12)


def test_tsne_keeps_two_clusters_apart_and_vectors_with_theirs():
    middle = np.repeat([[9.0] * 6, [-9.0] * 6], 20, axis=0)
    noise = np.random.default_rng(0).normal(size=(80, 6))
    _, xy = project("tsne", middle + noise[:40], middle + noise[40:], 0)
    items, others = np.split(xy, 2)
    nearest = np.linalg.norm(others[:, None] - items, axis=2).argmin(axis=1)
    assert ((nearest < 20) == (np.arange(40) < 20)).all()


def test_of_many_items_some_are_drawn_and_the_title_says_so(file, monkeypatch):
    monkeypatch.setattr(pictures, "MOST_ITEMS", 10)
    found = item_map(load_run(file), "pca", 5)
    assert len(set(found.trained.words)) == 10 and found.trained.of == 20
    assert "PCA; 10 of 20 trained items and 5 of 30 validation rows" in plots.map_subtitle(found)
    other = item_map(load_run(file, seed=1), "pca", 5)
    assert set(other.trained.words) != set(found.trained.words)


# ---------------------------------------------------------------- the model and the command
def scores(run):
    rows = run.valid_data._dataset[torch.arange(5)]
    with torch.no_grad(), own_randomness(0):
        return run.trainer.model.full_sort_predict(rows)


def test_vectors_do_not_depend_on_the_batches_they_are_generated_in(train):
    file = train("DimeRec")
    for users in (1, 4):
        found = item_map(load_run(file, eval_users_per_batch=users), "pca", 9)
        assert np.allclose(found.generated.xy, item_map(load_run(file), "pca", 9).generated.xy)


@pytest.mark.parametrize("draws", [draw_map, guidance_of, steps_of])
def test_a_model_whose_scores_are_not_finite_is_not_drawn(draws, file):
    run = load_run(file)
    draws(run)  # the control
    with torch.no_grad():
        run.trainer.model.item_embedding.weight[1:] = torch.nan
    with pytest.raises(ScoresError, match="scores of DreamRec are not finite: nan in row "):
        draws(run)


def test_the_model_is_as_before_afterwards(file):
    run = load_run(file)
    model = run.trainer.model
    before, plain = scores(run), {k: v for k, v in vars(model).items() if not k.startswith("_")}
    guidance_curve(run.trainer, run.valid_data, [0.0, 7.0])
    steps_curve(run.trainer, run.valid_data, [1, 2])
    item_map(run, "pca", 5)
    assert torch.equal(scores(run), before)
    assert {k: v for k, v in vars(model).items() if not k.startswith("_")} == plain
    with pytest.raises(KeyError), changed(model, guidance_weight=7.0):
        assert not torch.equal(scores(run), before)  # the control
        raise KeyError
    assert model.guidance_weight == 2.0 and torch.equal(scores(run), before)
    model.train()
    with changed(model):
        assert not model.training
    assert model.training


@pytest.mark.slow
def test_the_same_command_gives_the_same_pictures_and_says_what_it_drew(file, capsys):
    arguments = ["pictures", f"--checkpoint={file}", "--kinds=guidance,map", "--weights=0,1.5"]
    assert main(arguments + ["--rows", "6"]) == 0
    folder = Path("pictures", "DreamRec-market")
    first = capsys.readouterr().out, {f.name: f.read_bytes() for f in folder.glob("*.html")}
    assert set(first[1]) == {"item_map.html", "guidance.html"}
    assert main(arguments + ["--rows", "6"]) == 0
    second = capsys.readouterr().out, {f.name: f.read_bytes() for f in folder.glob("*.html")}
    assert first == second
    lines = first[0].splitlines()
    assert lines[0] == "DreamRec on market: validation"
    assert lines[1].startswith("map: t-SNE; 20 of 20 trained items and 6 of 30 validation rows")
    assert [line.split()[0] for line in lines[5:8]] == ["0", "1.5", "2"]
    assert lines[4].split()[-6:] == ["mrr@5", "ndcg@5", "mrr@5", "barred", "ndcg@5", "barred"]
    measured = evaluated(load_run(file))
    cells = [f"{value:.6f}" for values in measured for value in values.values()]
    assert lines[7].split() == ["2", "(the", "model's)", *cells]
    assert lines[-4:] == [
        str(folder / f"{name}.{kind}")
        for name in ("item_map", "guidance")
        for kind in ("png", "html")
    ]
    assert main([*arguments, "--rows=5"]) == 0  # the control
    assert first[0] != capsys.readouterr().out


class Walker(SequentialRecommender):
    """A model of a user's own with one sampler and no guidance weight."""

    input_type = InputType.POINTWISE
    generates = True
    shorter_walk = "levels"

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.table = torch.nn.Embedding(self.n_items, 8)
        self.diffusion = GaussianDiffusion.from_betas(SCHEDULES["linear_fixed"](6))
        self.levels = self.levels_of(2)

    def levels_of(self, count):
        return evenly_spaced(6, count)

    def items(self):
        return self.table.weight

    def guidance(self, interaction):
        return self.items()[interaction[self.ITEM_SEQ]].mean(dim=1)

    def generate(self, guidance):
        noise = 5 * torch.randn_like(guidance)
        step = ddim(self.diffusion, eta=0.0)
        return 5 * walk(lambda x, t: (x + guidance).tanh(), noise, self.levels, step)

    def full_sort_predict(self, interaction):
        return self.generate(self.guidance(interaction)) @ self.items().T

    def calculate_loss(self, interaction):
        return self.full_sort_predict(interaction).square().mean()


def test_a_class_of_ones_own_says_what_can_be_drawn_of_it(train):
    file = train(Walker)
    report = draw(file, "walker", model=Walker, method="pca")
    assert [Path(name).stem for name in report["files"][::2]] == ["item_map", "steps"]
    assert report["steps"].x == [1, 2, 5] and report["steps"].own == 2
    assert report["steps"].values[1] == evaluated(load_run(file, Walker))[0]
    assert report["steps"].values[0] != report["steps"].values[2]
    assert report["steps"].name == "reverse steps"
    with pytest.raises(ValueError, match="Walker has no guidance_weight: there is no picture"):
        draw(file, "walker", ["guidance"], model=Walker)
    with pytest.raises(ValueError, match=r"\[1.0\] are for the picture 'guidance', which is not"):
        draw(file, "walker", model=Walker, weights=[1.0])


# ---------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--kinds=map,pie"], "there is no picture 'pie'; there are map, guidance, steps"),
        (["--kinds="], "there is no picture ''"),
        (["--method=umap"], "method 'umap' is not one of tsne, pca"),
        (["--weights=1,-2"], "guidance weight -2.0 is not a number of at least 0"),
        (["--weights=nan"], "guidance weight nan is not"),
        (["--weights=1;2"], "--weights: '1;2' is not numbers parted by commas"),
        (["--steps=1,2.5"], "--steps: '1,2.5' is not whole numbers parted by commas"),
        (["--steps=2,5"], "5 steps over 4 levels; there must be 1 to 4"),
        (["--steps=0"], "0 steps over 4 levels"),
        (["--steps=2", "--kinds=map"], "[2] are for the picture 'steps', which is not drawn here"),
        (["--rows=0"], "0 rows; there must be at least 1"),
        (["--rows=few"], "--rows: invalid int value: 'few'"),
        (["--data_path=nowhere"], "data set 'market' has no market.inter"),
        (["--check=1"], "unrecognized arguments: --check=1"),
        (["--model=SASRec"], "holds a DreamRec, not a SASRec"),
    ],
)
def test_a_mistake_is_one_line_and_draws_nothing(arguments, message, file, capsys):
    capsys.readouterr()
    assert main(["pictures", f"--checkpoint={file}", "--output=none", *arguments]) == 2
    out, error = capsys.readouterr()
    assert out == "" and message in error.splitlines()[-1]
    assert error.splitlines()[-1].startswith("recbole-diffusion: ") and "Traceback" not in error
    assert not Path("none").exists()


def test_without_a_checkpoint_there_is_nothing_to_draw(market, capsys):
    assert main(["pictures"]) == 2
    assert "required: --checkpoint" in capsys.readouterr().err
    assert main(["pictures", "--checkpoint=nowhere.best.pth"]) == 2
    assert "there is no checkpoint nowhere.best.pth" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["SASRec", "LightGCN"])
def test_a_model_that_generates_no_embedding_is_refused(model, train):
    with pytest.raises(ValueError, match=f"{model} generates no embedding of an item"):
        draw(train(model, epochs=1))


def test_a_folder_that_cannot_be_made_is_refused(file):
    Path("taken").touch()
    with pytest.raises(ValueError, match="cannot write to taken: File exists"):
        draw(file, "taken")


@pytest.mark.parametrize("library", ["matplotlib", "plotly"])
def test_without_a_library_the_command_says_what_to_install(library, file, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, library, None)
    assert main(["pictures", f"--checkpoint={file}"]) == 2
    error = capsys.readouterr().err
    assert 'pip install "recbole-diffusion[pictures]"' in error and error.count("\n") == 1
    assert library in error and "doctor" not in error


def test_the_help_of_pictures_names_every_option(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["pictures", "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    options = ("checkpoint", "output", "kinds", "method", "weights", "steps", "rows", "data_path")
    assert all(f"--{option} " in out for option in options)


def test_of_dimerec_the_map_and_the_steps_are_drawn_with_its_own_count_marked(train):
    drawn = draw(train("DimeRec"), "dimerec", method="pca", rows=5)
    assert "guidance" not in drawn
    curve = drawn["steps"]
    assert (curve.name, curve.x, curve.own, curve.line) == ("reverse steps", [1, 2], 2, None)
    assert drawn["map"].lengths == pytest.approx((1, 1), abs=1e-6)

"""What is exported gives the model's own scores, or is refused; folders are whole or not there."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from marks import slow_but

from recbole_diffusion.cli.main import main
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.quick_start import run_recbole_diffusion
from recbole_diffusion.recommend import export as module
from recbole_diffusion.recommend import load
from recbole_diffusion.recommend.export import check_graph, export, made_up, make_graph, save_graph
from recbole_diffusion.recommend.graphs import GraphError
from recbole_diffusion.testing.made_up import chain, write
from recbole_diffusion.trainer import checkpoint

GRAPHS = ["SASRec", "GRU4Rec", "ICDDT", "DreamRec", "DimeRec", "DiffuRec", "DiffRec", "TDiffRec"]
# Walks that draw: at every step, or where the history is corrupted first.
DRAWING = {
    "DreamRec": {"sampler": "ancestral", "reverse_noise": True},
    "DimeRec": {"reverse_noise": True, "walk_scale": 1.0},
    "DiffRec": {"sampling_noise": True, "sampling_steps": 2},
    "TDiffRec": {"sampling_steps": 1},
    "ICDDT": {"BEHAVIOR_FIELD": None, "target_behavior": None, "truncation": 0.25},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, small):
    """Gives a function from a model and settings to a checkpoint of it, trained once."""
    folder, done = tmp_path_factory.mktemp("shop"), {}
    write(folder / "dataset", "shop", chain(n_users=40, n_items=20, length=10))

    def train(model, **settings):
        key = model, str(settings)
        if key not in done:
            where = {"data_path": str(folder / "dataset"), "checkpoint_dir": str(folder / "saved")}
            given = small(model, epochs=1, **(where | settings))
            done[key] = run_recbole_diffusion(model, "shop", config_dict=given)["checkpoint"]
        return done[key]

    return train


@pytest.fixture
def onnx():
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason="the extra export is not installed")


@pytest.mark.parametrize("model", slow_but(("ICDDT", "DiffRec"), GRAPHS))
def test_a_traced_graph_gives_the_models_own_scores(trained, tmp_path, model):
    report = export(trained(model), "torchscript", tmp_path / "out")
    sequential = model not in ("DiffRec", "TDiffRec")
    assert [one["batch"] for one in report["checks"]] == [3, 5]
    assert [one["length"] for one in report["checks"]] == ([4, 6] if sequential else [None, None])
    assert all(one["difference"] <= 1e-4 for one in report["checks"])
    about = json.loads((tmp_path / "out" / "config.json").read_text())
    names = [one["name"] for one in about["inputs"]]
    graph, recommender = torch.jit.load(tmp_path / "out" / "model.pt"), load(trained(model))
    batch = made_up(recommender, 4, 3, seed=1)
    again = make_graph(recommender)
    assert names == [one.name for one in again.inputs]
    noise = again.normals(batch, torch.Generator().manual_seed(1))
    expected = again.expected(batch, noise)
    assert expected.shape == (4, 20)
    scores = graph(*again.values(batch), *noise)
    assert torch.allclose(scores, expected, atol=1e-4)
    assert expected.std() > 1e-3  # the control: scores that differ, of noise that matters
    if noise and model != "DreamRec":  # untrained as it is, DreamRec hardly reads it
        other = again.normals(batch, torch.Generator().manual_seed(2))
        assert not torch.allclose(graph(*again.values(batch), *other), scores, atol=1e-6)


@pytest.mark.parametrize("model", DRAWING)
def test_noise_of_every_step_is_an_input(trained, tmp_path, model):
    recommender = load(trained(model, **DRAWING[model]))
    graph = make_graph(recommender)
    shapes = {one.name: one.shape for one in graph.inputs}
    size = 20 if model in ("DiffRec", "TDiffRec") else 8
    draws = {"DreamRec": 5, "DimeRec": 3, "DiffRec": 6, "TDiffRec": 1, "ICDDT": 2}[model]
    assert shapes["noise"] == ("batch", draws, size)
    assert ("history_noise" in shapes) == (model == "ICDDT")
    save_graph(graph, recommender, "torchscript", tmp_path / "model.pt")
    checks = check_graph(graph, recommender, "torchscript", tmp_path / "model.pt")
    assert len(checks) == 2


def test_the_first_column_is_the_first_item_and_the_histories_are_lines(trained, tmp_path):
    file = trained("SASRec")
    export(file, "torchscript", tmp_path / "out")
    items = (tmp_path / "out" / "items.txt").read_text().splitlines()
    assert sorted(items) == sorted(f"i{number}" for number in range(20))
    history = pd.DataFrame({"user_id": 1, "item_id": ["i3", "i7", "i1"]})
    expected = load(file).score(history)
    assert list(expected.columns) == items
    line = torch.tensor([[items.index(item) + 1 for item in history["item_id"]]])
    scores = torch.jit.load(tmp_path / "out" / "model.pt")(line, torch.tensor([3]))
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-5)


def test_a_row_is_what_a_user_had(trained, tmp_path):
    file = trained("DiffRec")
    export(file, "torchscript", tmp_path / "out")
    items = (tmp_path / "out" / "items.txt").read_text().splitlines()
    history = pd.DataFrame({"user_id": 1, "item_id": ["i3", "i7"], "behavior": "buy"})
    row = torch.zeros(1, 20)
    row[0, [items.index("i3"), items.index("i7")]] = 1
    scores = torch.jit.load(tmp_path / "out" / "model.pt")(row)
    np.testing.assert_allclose(scores.numpy(), load(file).score(history), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("model", GRAPHS)
def test_onnx_gives_the_models_own_scores(onnx, trained, tmp_path, model):
    report = export(trained(model), "onnx", tmp_path / "out")
    assert len(report["checks"]) == 2
    assert all(one["difference"] <= 1e-4 for one in report["checks"])
    import onnxruntime

    session = onnxruntime.InferenceSession(str(report["file"]))
    recommender = load(trained(model))
    graph = make_graph(recommender)
    for size, length in ((1, 1), (4, 6)):  # sizes of 1 are sizes as any other
        batch = made_up(recommender, size, length, seed=3)
        noise = graph.normals(batch, torch.Generator().manual_seed(3))
        values = [value.numpy() for value in (*graph.values(batch), *noise)]
        given = dict(zip([one.name for one in session.get_inputs()], values))
        scores = torch.from_numpy(session.run(["score"], given)[0])
        assert torch.allclose(scores, graph.expected(batch, noise), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["DreamRec", "DimeRec", "DiffRec"])
def test_onnx_of_walks_that_draw(onnx, trained, tmp_path, model):
    report = export(trained(model, **DRAWING[model]), "onnx", tmp_path / "out")
    assert all(one["difference"] <= 1e-4 for one in report["checks"])


@pytest.mark.parametrize(
    "model, settings, reason",
    [
        ("LDiffRec", {}, "encodes the interactions of a row cluster by cluster"),
        (
            "MarkovChain",
            {},
            "neither ranks by an embedding that it makes of a history nor denoises",
        ),
        ("MultiVAE", {}, "of SASRec and GRU4Rec and of the models of this package"),
        (
            "DreamRec",
            {"sampler": "ancestral", "diffusion_steps": 60},
            "passes 120 times through the network",
        ),
    ],
)
def test_what_cannot_be_a_graph_is_refused_with_the_reason(
    trained, tmp_path, capsys, model, settings, reason
):
    file = trained(model, **settings)
    command = ["export", f"--checkpoint={file}", "--format=torchscript"]
    assert main([*command, f"--output={tmp_path / 'out'}"]) == 2
    said = capsys.readouterr().err
    assert reason in said and len(said.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", ["ICDDT", "LDiffRec", "ItemKNN", "EASE", "LightGCN", "Pop"])
def test_weights_are_all_that_the_checkpoint_scores_with(trained, tmp_path, model):
    pytest.importorskip("safetensors", reason="the extra export is not installed")
    from safetensors.torch import load_file

    file = trained(model)
    report = export(file, "safetensors", tmp_path / "out")
    state, found = checkpoint.load(file), load_file(report["file"])
    for name, value in state["state_dict"].items():
        assert torch.equal(found.pop(name), value)
    about = json.loads((tmp_path / "out" / "config.json").read_text())
    for name, value in state["other_parameter"].items():
        if hasattr(value, "tocsr"):
            parts = [found.pop(f"{name}.{part}") for part in ("data", "indices", "indptr")]
            assert abs(value.tocsr().data - parts[0].numpy()).max() == 0
            assert about["values"][name]["shape"] == list(value.shape)
        elif name in found:
            other = found.pop(name).numpy()
            assert np.array_equal(np.asarray(value), other)
        else:
            assert about["values"][name] == value
    assert not found
    settings = json.loads(state["config"])
    paths = {"checkpoint_dir", "data_path"}
    assert about["settings"] == {key: settings[key] for key in settings.keys() - paths}
    assert (tmp_path / "out" / "users.txt").exists() == (model == "LightGCN")
    behaviors = tmp_path / "out" / "behaviors.txt"
    assert behaviors.exists() == (model == "ICDDT")


def test_the_card_says_what_it_is_and_what_it_cannot_do(trained, tmp_path):
    file = trained("ICDDT")
    export(file, "torchscript", tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    front, state = yaml.safe_load(front), checkpoint.load(file)
    result = front["model-index"][0]["results"][0]
    assert front["license"] == "unknown"
    assert {one["type"]: one["value"] for one in result["metrics"]} == state["best_valid_result"]
    for part in ("# ICDDT on shop", "## Protocol", "## Metrics", "## Limits", "## Check"):
        assert f"{part}\n" in body
    never = int((state["item_counts"][1:] == 0).sum())
    assert f"{never} of 20 items do not occur in training" in body
    assert str(tmp_path.parent) not in text  # no paths of this machine
    assert "`history_noise` (float32, [batch, 4, length, 8])" in body
    settings = yaml.safe_load(body.split("```yaml\n")[1].split("```")[0])
    assert settings["hidden_size"] == 8


def test_a_folder_is_replaced_only_if_it_is_an_earlier_export(trained, tmp_path, monkeypatch):
    file, out = trained("SASRec"), tmp_path / "out"
    out.mkdir()  # empty: may be filled
    export(file, "torchscript", out)
    before = sorted(path.name for path in out.iterdir())
    assert before == ["README.md", "config.json", "items.txt", "model.pt"]
    (out / "model.pt").write_bytes(b"old")
    monkeypatch.setattr(module, "check_graph", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # anything that stops it
        export(file, "torchscript", out)
    assert (out / "model.pt").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    monkeypatch.undo()
    export(file, "torchscript", out)
    assert len((out / "model.pt").read_bytes()) > 3
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    for name, text in (("config.json", "{}"), ("notes.txt", "mine")):
        other = tmp_path / name.split(".")[0]
        other.mkdir()
        (other / name).write_text(text)
        with pytest.raises(ConfigError, match="holds something else than an earlier export"):
            export(file, "torchscript", other)
        assert (other / name).read_text() == text
    with pytest.raises(ConfigError, match="is a file"):
        export(file, "torchscript", tmp_path / "notes" / "notes.txt")
    with pytest.raises(ConfigError, match="format is 'h5', not one of onnx"):
        export(file, "h5", out)


def test_a_graph_that_gives_other_scores_is_no_export(trained, tmp_path, monkeypatch):
    wrong = module.run_graph
    monkeypatch.setattr(module, "run_graph", lambda *args: wrong(*args) + 1e-3)
    with pytest.raises(GraphError, match="gives other scores than the model, by 0.001 on a batch"):
        export(trained("SASRec"), "torchscript", tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format, name", [("onnx", "onnxscript"), ("safetensors", "safetensors")])
def test_without_a_library_the_command_says_what_to_install(
    trained, tmp_path, monkeypatch, capsys, format, name
):
    if format == "onnx":
        pytest.importorskip("onnx", reason="the extra export is not installed")
    monkeypatch.setitem(__import__("sys").modules, name, None)
    command = ["export", f"--checkpoint={trained('SASRec')}", f"--format={format}"]
    assert main([*command, f"--output={tmp_path / 'out'}"]) == 2
    said = capsys.readouterr().err
    assert f'format {format} needs {name}: pip install "recbole-diffusion[export]"' in said
    assert not list(tmp_path.iterdir())

"""Item embeddings from a file, from a checkpoint, and from a model trained first."""

import json

import pytest
import torch

from recbole_diffusion.config.config import Config
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.data.lines import DataError
from recbole_diffusion.quick_start.item_table import item_table
from recbole_diffusion.quick_start.quick_start import fit
from recbole_diffusion.quick_start.saved_run import load_run
from recbole_diffusion.trainer import checkpoint

FIRST = {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1, "epochs": 2}


@pytest.fixture
def begun(shop, small):
    """Gives a function from settings to the network of a DreamRec after its training."""

    def begin(**settings):
        settings = (
            small("DreamRec", epochs=1, train_items=False, topk=[5], valid_metric="NDCG@5")
            | settings
        )
        trainer, *_ = fit(Config("DreamRec", "shop", config_dict=settings))
        return trainer

    return begin


def directions(table):
    return torch.nn.functional.normalize(table[1:])


def trained_first(shop):
    """The state of the SASRec that was trained first."""
    (file,) = shop.glob("saved/SASRec-*.best.pth")
    return file, checkpoint.load(file)


def test_pretraining_trains_the_named_model_on_the_same_split_and_begins_with_its_items(
    begun, shop
):
    trainer = begun(pretrain="SASRec", pretrain_settings=FIRST, settings="default")
    file, first = trained_first(shop)
    settings, own = json.loads(first["config"]), trainer.config
    assert (settings["settings"], own["settings"]) == ("published", "default")
    same = ("eval_args", "MAX_ITEM_LIST_LENGTH", "valid_metric", "seed", "target_behavior")
    for key in (*same, "field_separator", "seq_separator"):
        assert settings[key] == own[key], key
    assert (settings["epochs"], own["epochs"], settings["train_batch_size"]) == (2, 1, 2048)
    table = first["state_dict"]["item_embedding.weight"]
    torch.testing.assert_close(
        directions(trainer.model.item_embedding.weight.detach()), directions(table)
    )
    assert trainer.build_seconds > 0


def test_a_checkpoint_gives_its_items_by_token_also_to_data_with_fewer_of_them(begun, shop):
    begun(pretrain="SASRec", pretrain_settings=FIRST)
    file, first = trained_first(shop)
    lines = (shop / "dataset/shop/shop.inter").read_text().splitlines(keepends=True)
    fewer = [line for line in reversed(lines[1:]) if "i7\t" not in line and "i3\t" not in line]
    (shop / "dataset/shop/shop.inter").write_text("".join([lines[0], *fewer]))
    trainer = begun(item_embeddings=str(file))
    tokens = first["tokens"]["item_id"].split("\n")
    table = first["state_dict"]["item_embedding.weight"]
    here = trainer.dataset.field2id_token["item_id"]
    assert list(here) != tokens[: len(here)] and len(here) == len(tokens) - 2
    wanted = table[[tokens.index(token) for token in here]]
    got = trainer.model.item_embedding.weight.detach()
    torch.testing.assert_close(directions(got), directions(wanted))


def test_a_file_of_vectors_gives_its_items(begun, shop):
    vectors = {f"i{item}": [item + 1.0] * 7 + [1.0] for item in range(20)}
    text = "".join(f"{token}\t{' '.join(map(str, v))}\n" for token, v in vectors.items())
    (shop / "dataset/shop/my.itememb").write_text("item_id:token\titem_emb:float_seq\n" + text)
    trainer = begun(item_embeddings="my.itememb")
    tokens = trainer.dataset.field2id_token["item_id"][1:]
    wanted = torch.tensor([vectors[token] for token in tokens])
    got = trainer.model.item_embedding.weight.detach()
    torch.testing.assert_close(directions(got), torch.nn.functional.normalize(wanted))


def test_pretraining_does_not_change_the_random_numbers_of_the_run(begun, monkeypatch):
    table = torch.ones(21, 8)
    (alone, after) = (None, None)
    for name in ("alone", "after"):
        if name == "alone":
            monkeypatch.setattr(
                "recbole_diffusion.quick_start.quick_start.item_table", lambda *_: table
            )
            alone = begun().model.state_dict()
        else:

            def train_and_forget(config, dataset, fit):
                item_table(config, dataset, fit)
                return table

            monkeypatch.setattr(
                "recbole_diffusion.quick_start.quick_start.item_table", train_and_forget
            )
            settings = {"pretrain": "SASRec", "pretrain_settings": FIRST}
            after = begun(**settings).model.state_dict()
    assert all(torch.equal(alone[key], after[key]) for key in alone)


def test_a_resumed_run_does_not_pretrain_again(begun, shop):
    settings = {"pretrain": "SASRec", "pretrain_settings": FIRST}
    once = begun(**settings)
    (file,) = shop.glob("saved/SASRec-*.best.pth")
    file.unlink()
    on = begun(**settings, epochs=3, resume=True)
    load_run(on.saved_model_file)  # to look at it does not either
    assert on.epochs_done == 3 and not list(shop.glob("saved/SASRec-*.best.pth"))
    assert torch.equal(once.model.item_embedding.weight, on.model.item_embedding.weight)


@pytest.mark.parametrize(
    "settings, error, message",
    [
        ({"item_embeddings": "a", "pretrain": "SASRec"}, ConfigError, "are both set"),
        ({"pretrain": "SASRec", "pretrain_settings": [1]}, ConfigError, "it must be a mapping"),
        (
            {"pretrain": "SASRec", "pretrain_settings": {"n_layres": 2}},
            ConfigError,
            "did you mean 'n_layers'",
        ),
        ({"pretrain": "SASREK"}, ValueError, "did you mean SASRec"),
        ({"pretrain": "Pop", "pretrain_settings": {"epochs": 1}}, DataError, "no item_embedding"),
        ({"item_embeddings": "none.itememb"}, DataError, "is a file"),
        ({"item_embeddings": "none.pth"}, ValueError, "there is no checkpoint none.pth"),
        (
            {"pretrain": "SASRec", "pretrain_settings": FIRST | {"hidden_size": 4}},
            DataError,
            "vectors of 4 numbers, but hidden_size is 8",
        ),
    ],
)
def test_what_cannot_be_begun_with_is_refused(settings, error, message, begun):
    with pytest.raises(error, match=message):
        begun(**settings)


def test_a_checkpoint_without_an_item_is_refused(begun, shop):
    lines = (shop / "dataset/shop/shop.inter").read_text()
    keep = [line for line in lines.splitlines(keepends=True) if "i7\t" not in line]
    (shop / "dataset/shop/shop.inter").write_text("".join(keep))
    begun(pretrain="SASRec", pretrain_settings=FIRST)
    file, _ = trained_first(shop)
    (shop / "dataset/shop/shop.inter").write_text(lines)
    with pytest.raises(DataError, match="no vector for 1 of 20 items: i7"):
        begun(item_embeddings=str(file))

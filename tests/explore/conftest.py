"""Small trained models of every kind, as they are tried out."""

import random

import pytest

from recbole_diffusion.explore.catalogue import Catalogue, titles_of
from recbole_diffusion.explore.tried import Tried
from recbole_diffusion.quick_start.quick_start import run_recbole_diffusion
from recbole_diffusion.recommend.recommender import load

NASTY = "<script>hacked=1</script><img src=x onerror='hacked=1'> & Co"
WITHOUT_BEHAVIORS = {"BEHAVIOR_FIELD": None, "target_behavior": None}


@pytest.fixture(scope="session")
def nasty():
    """The title of i3, which would run a script if it were taken for HTML."""
    return NASTY


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, write_inter, small):
    """Gives a function from a model to a checkpoint of it; i3 has a title with tags."""
    folder = tmp_path_factory.mktemp("explore")
    draw, rows = random.Random(7), []
    for user in range(40):
        item = draw.randrange(20)
        for time in range(10):
            rows.append((f"u{user}", f"i{item}", draw.choice(["view", "buy"]), time))
            item = (item + 1) % 20 if draw.random() < 0.8 else draw.randrange(20)
    write_inter(folder / "dataset", "shop", rows)
    titles = [f"i{n}\t{NASTY if n == 3 else f'Thing number {n}'}" for n in range(20)]
    lines = ["item_id:token\tmovie_title:token_seq", *titles]
    (folder / "dataset" / "shop" / "shop.item").write_text("\n".join(lines) + "\n")
    made = {}

    def checkpoint(model):
        if model not in made:
            settings = small(model, epochs=1) | ({} if model == "ICDDT" else WITHOUT_BEHAVIORS)
            settings |= {"data_path": str(folder / "dataset"), "checkpoint_dir": str(folder)}
            made[model] = run_recbole_diffusion(
                model, "shop", config_dict=settings | {"state": "ERROR"}
            )["checkpoint"]
        return made[model]

    return checkpoint


@pytest.fixture(scope="session")
def tried(checkpoint):
    """Gives a function from a model to it, as it is tried out."""
    made = {}

    def tried(model):
        if model not in made:
            recommender = load(checkpoint(model))
            catalogue = Catalogue([recommender], titles_of(recommender))
            made[model] = Tried(recommender, catalogue)
        return made[model]

    return tried

"""Data and models of interaction rows, small enough to see through."""

import pytest
import torch
from recbole.data.interaction import Interaction
from training_rows import Rows

from recbole_diffusion.config.config import Config
from recbole_diffusion.quick_start.quick_start import make_network
from recbole_diffusion.testing import made_up


@pytest.fixture(scope="session")
def checkerboard():
    """Even users had even items, odd users odd ones; one item of each user is not among them.

    Returns:
        tuple: the data (Rows), and the item of each user that is missing, shape: [n_users]; that of
        the padding user is 0.
    """
    pairs, missing = [], [0]
    for user, item, _, time in made_up.checkerboard(100, 20, seed=1):
        user, item = int(user[1:]) + 1, int(item[1:]) + 1
        if time == 0:
            missing.append(item)
        else:
            pairs.append((user, item))
    return Rows(pairs, 101, 21), torch.tensor(missing)


@pytest.fixture(scope="session")
def rows_model(checkerboard):
    """Gives a function from a model's name and settings to the model on checkerboard data."""

    def build(name, data=None, seed=0, **settings):
        quiet = {"use_gpu": False, "data_path": "nowhere"}
        config = Config(name, "tiny", config_dict=quiet | settings)
        torch.manual_seed(seed)
        return make_network(config, data or checkerboard[0], None)

    return build


@pytest.fixture(scope="session")
def users():
    """Gives a function from ids to a batch of users."""

    def batch(*ids, items=None):
        columns = {"user_id": torch.tensor(ids)}
        if items is not None:
            columns["item_id"] = torch.as_tensor(items)
        return Interaction(columns)

    return batch

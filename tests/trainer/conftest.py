"""What tests of trainers share."""

import pytest
import torch

from recbole_diffusion.config.config import Config
from recbole_diffusion.quick_start.quick_start import make_network, read_data
from recbole_diffusion.trainer.choose import get_trainer


@pytest.fixture
def assemble(shop, small):
    """Gives a function from a model and settings to a fresh trainer and its three loaders."""

    def assemble(model, **settings):
        config = Config(model, "shop", config_dict=small(model, **settings))
        loaders = read_data(config)[1]
        torch.manual_seed(0)
        network = make_network(config, loaders[0]._dataset, None)
        fresh = get_trainer(config)(config, network)
        fresh.attach(loaders[0]._dataset)
        return fresh, loaders

    return assemble

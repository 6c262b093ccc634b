"""RecBole's causal models on all positions: the loss and gradients of one row a prefix."""

import random

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_diffusion.config import traits
from recbole_diffusion.config.names import MODELS, get_model
from recbole_diffusion.model.all_positions import AllPositions, groups_by_length

SIZES = {
    "SASRec": {"hidden_size": 8, "inner_size": 16, "n_layers": 2, "n_heads": 2}
    | {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0},
    "GRU4Rec": {"embedding_size": 8, "hidden_size": 12, "num_layers": 2, "dropout_prob": 0.0},
}
CAUSAL = list(SIZES)
SPLIT = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO", "group_by": "user", "mode": "full"}


@pytest.fixture
def network(tmp_path, write_inter, build_data):
    """Gives a function from a model and settings to a network and its training loader."""
    draw, rows = random.Random(1), []
    for user in range(25):
        items = draw.sample(range(40), draw.randint(3, 30))
        rows += [(f"u{user}", f"i{item}", "view", time) for time, item in enumerate(items)]
    write_inter(tmp_path, "tiny", rows)

    def network(model, **settings):
        settings = {"MAX_ITEM_LIST_LENGTH": 30, "eval_args": SPLIT, "shuffle": False} | settings
        sizes = SIZES.get(model.removeprefix("recbole:"), {})
        config, _, (train, _, _) = build_data(tmp_path, model, **sizes | settings)
        torch.manual_seed(1)
        made = config.model_class(config, train._dataset)
        for weight in made.parameters():  # as trained: initial states are all about alike
            weight.data.add_(0.3 * torch.randn_like(weight))
        return made, train

    return network


def whole(loader):
    """All windows of a loader as one batch."""
    return loader.collate_fn(torch.arange(loader.sample_size))


def one_row_a_prefix(windows):
    """The rows that RecBole would make of windows, those of a target's negative items together."""
    sequence, target = windows["item_id_list"], windows["item_id"]
    rows = []
    for row, position in target.nonzero().tolist():
        history = torch.zeros_like(sequence[0])
        history[: position + 1] = sequence[row, : position + 1]
        own = {"user_id": windows["user_id"][row], "item_id_list": history}
        own |= {"item_length": torch.tensor(position + 1), "item_id": target[row, position]}
        if "neg_item_id" not in windows:
            rows.append(own)
            continue
        rows += [own | {"neg_item_id": item} for item in windows["neg_item_id"][row, position]]
    return Interaction({name: torch.stack([row[name] for row in rows]) for name in rows[0]})


def loss_and_gradients(model, batch):
    model.zero_grad()
    loss = model.calculate_loss(batch)
    loss.backward()
    return [loss.detach(), *(weight.grad.clone() for weight in model.parameters())]


def gap(one, other):
    return max((a - b).abs().max().item() for a, b in zip(one, other, strict=True))


PAIRS = {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform", "sample_num": 3}}


@pytest.mark.parametrize("settings", [{}, PAIRS], ids=["CE", "BPR"])
@pytest.mark.parametrize("name", CAUSAL)
def test_windows_have_loss_and_gradients_of_one_row_a_prefix(name, settings, network):
    model, loader = network(name, **settings)
    host, _ = network(f"recbole:{name}", **settings)
    host.load_state_dict(model.state_dict())
    windows = whole(loader)
    model.group_cost = 1
    assert len(groups_by_length(windows["item_length"], 1)) > 2
    rows = one_row_a_prefix(windows)
    assert len(rows) == loader.n_targets * (3 if settings else 1) > 3 * len(windows)
    wanted = loss_and_gradients(host, rows)
    assert gap(loss_and_gradients(model, windows), wanted) < 1e-5
    assert gap(loss_and_gradients(model, rows), wanted) == 0
    # the control: with a target less it is another loss
    row, position = windows["item_id"].nonzero()[-1].tolist()
    windows["item_id"][row, position] = 0
    assert gap(loss_and_gradients(model, windows), wanted) > 1e-4


# ---------------------------------------------------------------- the state is the prefix's
class SeesWhatFollows(get_model("SASRec")):
    """As BERT4Rec does."""

    def get_attention_mask(self, item_seq, bidirectional=False):
        return super().get_attention_mask(item_seq, bidirectional=True)


def prefix_gap(model, sequence, length):
    """How far states of windows are from those of the prefixes, each by itself and cropped."""
    states = model.states(sequence)
    return max(
        gap(states[row : row + 1, end - 1], model.forward(sequence[row : row + 1, :end], at_end))
        for row, held in enumerate(length.tolist())
        for end in range(1, held + 1)
        for at_end in [torch.tensor([end])]
    )


@torch.no_grad()
def test_the_state_at_a_position_is_that_of_the_prefix(network):
    ours = [name for name in MODELS if issubclass(get_model(name), AllPositions)]
    assert ours == CAUSAL
    for name in ours:
        model, loader = network(name)
        windows = whole(loader)
        length = windows["item_length"]
        assert length.min() < windows["item_id_list"].shape[1]  # there is padding
        assert prefix_gap(model.eval(), windows["item_id_list"], length) < 1e-5, name
        assert traits.of(type(model)).causal
        assert not traits.of(get_model(f"recbole:{name}")).causal


@torch.no_grad()
def test_a_model_that_sees_what_follows_has_other_states(network):
    model, loader = network("SASRec")
    windows = whole(loader)
    seeing = SeesWhatFollows(loader.config, loader._dataset).eval()
    seeing.load_state_dict(model.state_dict())
    assert prefix_gap(seeing, windows["item_id_list"], windows["item_length"]) > 1e-2
    bert, _ = network("BERT4Rec")
    item_seq = windows["item_id_list"]
    other = item_seq.clone()
    other[:, 1:] = item_seq[:, 1:] % 7 + 1  # the first state is that of the first item
    assert gap(bert.eval()(item_seq)[:, 0], bert(other)[:, 0]) > 1e-2
    assert gap(model.eval().states(item_seq)[:, 0], model.states(other)[:, 0]) < 1e-5


# ---------------------------------------------------------------- groups and negatives
def test_groups_hold_every_window_once_and_half_their_length():
    length = torch.randint(1, 200, (300,), generator=torch.Generator().manual_seed(3))
    groups = groups_by_length(length)
    assert torch.cat(groups).sort().values.tolist() == list(range(300))
    for group, after in zip(groups, [*groups[1:], None]):
        assert 2 * length[group].min() > length[group].max() or after is None
        assert length[group[0]] == length[group].max()
    assert sum(len(g) * int(length[g[0]]) for g in groups) < 0.75 * 300 * int(length.max())


def test_no_group_is_made_for_less_padding_than_it_costs():
    length = torch.tensor([10, 1, 1, 10])
    assert [group.tolist() for group in groups_by_length(length, 18)] == [[0, 3], [1, 2]]
    assert [group.tolist() for group in groups_by_length(length, 19)] == [[0, 3, 1, 2]]


def test_negative_items_stand_at_targets_and_are_others(network):
    _, loader = network("SASRec", **PAIRS)
    for batch in loader:
        target, negative = batch["item_id"], batch["neg_item_id"]
        assert negative.shape == (*target.shape, 3)
        assert torch.equal((negative > 0).all(dim=2), target > 0)
        assert torch.equal((negative > 0).any(dim=2), target > 0)
        assert not (negative == target[..., None])[target > 0].any()
    first, second = (whole(loader)["neg_item_id"] for _ in range(2))
    assert torch.equal(first, second)  # of one epoch
    first, second = (next(iter(loader))["neg_item_id"] for _ in range(2))
    assert not torch.equal(first, second)  # of two epochs

"""How much faster is ICDDT here than the same mathematics written plainly?

Scoring is measured beside SASRec too, of the same size, on the same histories.
"plain" has the same weights and gives the same scores, but pads every batch to the full length,
draws rows in any order, computes the last block at all positions, projects Q1, Q2, K1, K2, V and
every position's behaviour one by one, and the step conditions of every row at every step.
"""

import math
import time
from statistics import median

import torch
import torch.nn.functional as F

from recbole_diffusion.config.config import Config
from recbole_diffusion.data.choose import get_dataset
from recbole_diffusion.data.dataloader import prepare_data
from recbole_diffusion.model.layers.basic import sinusoid
from recbole_diffusion.model.sequential_recommender.icddt import ICDDT, NORM_EPS


class PlainICDDT(ICDDT):
    """ICDDT as the formulas stand: no pruning, no fusing, no tables."""

    def output_positions(self, layer, n):
        """All of them; arguments and result as in ICDDT."""
        return n

    def behavior_query(self, attention, behavior):
        """Behaviours of all positions, not yet projected, shape: [B, n, D]."""
        return self.behavior_embedding(behavior)

    def losses(self, x0_hat, x0, target):
        """Cross-entropy over all items but the padding, shape: [B]."""
        scores = x0_hat @ self.item_embedding.weight[1:].T
        return F.cross_entropy(scores, target - 1, reduction="none")

    def forward(self, x_t, t, conditions):
        """As in ICDDT: shapes [B, D], [B], result [B, D]."""
        history = self.history_norm(self.history_dropout(conditions.history))
        h = self.inject(x_t, history)
        into, activation, out = self.step_embedding
        number = (t - 1) * self.step_embedding.scale
        c = out(
            activation(into(sinusoid(number, self.hidden_size, self.hidden_size / 2)))
        )  # [B, D]
        for block, query in zip(self.blocks, conditions.queries):
            h = self.block(block, h, query, conditions.padded, F.silu(c))
        return self.output_norm(F.dropout(h, self.output_dropout.p, self.training)[:, -1])

    def block(self, block, h, query, padded, c):
        """One block at all positions, shape of h and result: [B, n, D]."""
        p = block.dropout.p

        def drop(x):
            return F.dropout(x, p, self.training)

        shift, scale = block.shift_scale(c)[:, None].chunk(2, dim=-1)
        m = F.layer_norm(h, h.shape[-1:], eps=NORM_EPS) * scale + shift
        h = h + drop(drop(self.attention(block.attention, m, m, padded, p)))
        seen = self.attention(block.behavior_attention, query, block.behavior_norm(h), padded, p)
        h = h + drop(drop(seen))
        first, gelu, _, second = block.feed_forward
        inner = drop(gelu(first(block.feed_forward_norm(h))))
        return drop(h + drop(block.gate(c)[:, None] * second(inner)))

    def attention(self, layer, query, key_value, padded, p):
        """Differential attention with five separate projections, result: [B, n, D]."""
        heads = layer.n_heads

        def project(x, weight, bias):
            return F.linear(x, weight, bias).unflatten(-1, (heads, -1)).transpose(1, 2)

        q_weight, q_bias = layer.query.weight.chunk(2), layer.query.bias.chunk(2)
        k_weight, v_weight = layer.key_value.weight.chunk(2)
        k_bias, v_bias = layer.key_value.bias.chunk(2)
        maps = []
        for i in range(2):
            q = project(query, q_weight[i], q_bias[i])
            k = project(key_value, k_weight.chunk(2)[i], k_bias.chunk(2)[i])
            score = q @ k.transpose(-1, -2) / math.sqrt(layer.head_size)
            maps.append(score.masked_fill(padded, -math.inf).softmax(dim=-1))
        attention = maps[0] - layer.difference_weight()[:, None, None] * maps[1]
        attention = F.dropout(attention, p, self.training)
        seen = attention @ project(key_value, v_weight, v_bias)
        seen = layer.norm(seen) * (1 - layer.lambda_init)
        return layer.output(seen.transpose(1, 2).flatten(2))


def setting(model, arguments, plain, **more):
    """Configuration and loaders of one of them.

    Returns:
        tuple: config (Config), training loader, validation loader.
    """
    settings = {"data_path": arguments.data_path, "show_progress": False, "worker": 0} | more
    if plain:
        settings |= {"crop_history": False, "length_buckets": False}
    config = Config(model, arguments.dataset, config_dict=settings)
    train, valid, _ = prepare_data(config, get_dataset(config)(config))
    return config, train, valid


def training_seconds(model, loader, batches):
    """Seconds of each of some training batches, data and optimiser included."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters())
    seconds, rows = [], iter(loader)
    for step in range(batches + 2):
        begin = time.perf_counter()
        batch = next(rows)
        optimizer.zero_grad()
        model.calculate_loss(batch).backward()
        optimizer.step()
        if step >= 2:  # two to warm up
            seconds.append(time.perf_counter() - begin)
    return seconds


@torch.no_grad()
def scoring_seconds(model, loader, steps, repeats):
    """Seconds to score all rows of a loader, the metrics left out; the median of some repeats.

    Without ``steps`` the model has no walk.
    """
    model.eval()
    if steps:
        model.walk_steps.fill_(steps)
    model.full_sort_predict(next(iter(loader))[0])  # to warm up
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        for rows, *_ in loader:
            model.full_sort_predict(rows)
        times.append(time.perf_counter() - begin)
    return median(times)


@torch.no_grad()
def largest_difference(ours, plain, loader):
    """Largest difference of a score of the two, on one batch with the same noise."""
    rows = next(iter(loader))[0]
    results = []
    for model in (ours, plain):
        model.eval()
        torch.manual_seed(0)
        results.append(model.full_sort_predict(rows))
    return (results[0] - results[1]).abs().max().item()


def add_options(parser):
    """Adds what can be set to a parser."""
    parser.add_argument("--dataset", default="jd")
    parser.add_argument("--batches", type=int, default=48, help="training batches of ours")
    parser.add_argument("--plain_batches", type=int, default=8, help="training batches of plain")
    parser.add_argument("--scoring", action="store_true", help="only scoring, beside SASRec")
    parser.add_argument("--short_walk", type=int, default=1, help="steps of truncation: auto")


def measure(arguments):
    """Prints rates and ratios; takes the parsed arguments."""
    config, train, valid = setting(ICDDT, arguments, plain=False)
    plain_config, plain_train, plain_valid = setting(PlainICDDT, arguments, plain=True)
    ours = ICDDT(config, train.dataset)
    plain = PlainICDDT(plain_config, plain_train.dataset)
    plain.load_state_dict(ours.state_dict())
    full = config["diffusion_steps"]
    print(
        f"ICDDT on {arguments.dataset}: D {config['hidden_size']}, L "
        f"{config['MAX_ITEM_LIST_LENGTH']}, T {full}, batch {config['train_batch_size']}, "
        f"{config['eval_users_per_batch']} users per scoring batch, "
        f"{torch.get_num_threads()} threads"
    )
    print(f"largest difference of a score: {largest_difference(ours, plain, plain_valid):.1e}")

    users = len(valid.dataset)
    if arguments.scoring:
        short = scoring_seconds(ours, valid, arguments.short_walk, 3)
        beside_sasrec(config, short / users, arguments)
        return

    # With the two to warm up 48 batches are one pool, which holds every length.
    ours_train = training_seconds(ours, train, arguments.batches)
    plain_train_s = training_seconds(plain, plain_train, arguments.plain_batches)
    rate = config["train_batch_size"] * len(ours_train) / sum(ours_train)
    plain_rate = config["train_batch_size"] * len(plain_train_s) / sum(plain_train_s)
    print(
        f"training: ours {rate:.0f} rows/s, plain {plain_rate:.0f} rows/s, "
        f"ratio {rate / plain_rate:.2f}"
    )

    seconds = scoring_seconds(ours, valid, full, 1)
    plain_seconds = scoring_seconds(plain, plain_valid, full, 1)
    short = scoring_seconds(ours, valid, arguments.short_walk, 3)
    print(
        f"scoring, {full} steps: ours {users / seconds:.0f} users/s, plain "
        f"{users / plain_seconds:.0f} users/s, ratio {plain_seconds / seconds:.2f}"
    )
    print(
        f"scoring, {arguments.short_walk} step(s): ours {users / short:.0f} users/s, ratio to ours "
        f"with {full} steps {seconds / short:.2f} (0.7 x {full}/{arguments.short_walk} = "
        f"{0.7 * full / arguments.short_walk:.1f})"
    )
    beside_sasrec(config, short / users, arguments)


def beside_sasrec(config, seconds, arguments):
    """Scoring of SASRec with ICDDT's D, L, layers, heads and inner size, on the same histories.

    Args:
        config (Config): ICDDT's.
        seconds (float): that ICDDT takes a row.
        arguments (argparse.Namespace): the parsed arguments.
    """
    same = ("hidden_size", "n_layers", "n_heads", "MAX_ITEM_LIST_LENGTH", "train_rows")
    size = {key: config[key] for key in same} | {"inner_size": 4 * config["hidden_size"]}
    other, train, valid = setting("SASRec", arguments, plain=False, **size)
    torch.manual_seed(0)
    model = other.model_class(other, train.dataset)
    rate = len(valid.dataset) / scoring_seconds(model, valid, None, 3)
    print(
        f"scoring, SASRec with the same D, L, layers and heads: {rate:.0f} users/s; ICDDT with "
        f"{arguments.short_walk} step(s) takes {seconds * rate:.2f} of its time"
    )

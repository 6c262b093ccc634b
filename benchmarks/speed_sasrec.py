"""What does training SASRec and GRU4Rec on all positions save, beside RecBole's one row a prefix?

Both sides have the same settings, leave-one-out split, targets a batch (ours on average) and
initial weights; timed are loading, loss, gradients and optimiser. RecBole's side is measured as
this package runs it, cropped batches of similar lengths, and as RecBole's own data set and loader
give them, padded to L in any order.
"""

import time

import torch

from recbole_diffusion.config.config import Config
from recbole_diffusion.data.choose import get_dataset
from recbole_diffusion.data.dataloader import prepare_data
from recbole_diffusion.trainer.choose import get_trainer

SPLIT = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
LENGTHS = {"ml-1m": 200, "beauty": 50}
SIZES = {
    "SASRec": {"hidden_size": 64, "inner_size": 256, "n_layers": 2, "n_heads": 2},
    "GRU4Rec": {"embedding_size": 64, "hidden_size": 128, "num_layers": 1},
}
PADDED = {"crop_history": False, "length_buckets": False}


def add_options(parser):
    """Adds what can be set to a parser."""
    parser.add_argument("--datasets", default="ml-1m,beauty", help=f"of {', '.join(LENGTHS)}")
    parser.add_argument("--models", default="SASRec,GRU4Rec")
    parser.add_argument("--batch", type=int, default=256, help="targets a batch")
    parser.add_argument("--batches", type=int, default=40, help="training batches of ours")
    parser.add_argument("--plain_batches", type=int, default=3, help="those of RecBole's way")
    parser.add_argument("--threads", type=int, default=1)


def build(name, dataset, arguments, **settings):
    """A model with seed 0, its training loader and its optimiser."""
    settings |= SIZES[name.split(":")[-1]] | {"data_path": arguments.data_path, "eval_args": SPLIT}
    settings |= {"MAX_ITEM_LIST_LENGTH": LENGTHS[dataset], "train_batch_size": arguments.batch}
    settings |= {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    settings |= {"show_progress": False, "use_gpu": False}
    config = Config(name, dataset, config_dict=settings)
    train, _, _ = prepare_data(config, get_dataset(config)(config))
    torch.manual_seed(0)
    model = config.model_class(config, train.dataset)
    return model, train, get_trainer(config)(config, model).optimizer


def targets_a_second(model, loader, optimizer, item, batches):
    """Targets trained on a second, one batch to warm up left out.

    Args:
        model (torch.nn.Module): the model.
        loader (AbstractDataLoader): of its training rows or windows.
        optimizer (torch.optim.Optimizer): of its weights.
        item (str): the field of the targets.
        batches (int): how many to time.

    Returns:
        tuple of float: targets a second, and targets a second of the process's CPU time, which
        other processes on the machine change less.
    """
    model.train()
    count, begin = 0, None
    for done, rows in enumerate(loader):
        optimizer.zero_grad()
        model.calculate_loss(rows).backward()
        optimizer.step()
        if begin is None:
            begin, cpu = time.perf_counter(), time.process_time()
            continue
        count += int((rows[item] > 0).sum())
        if done == batches:
            break
    return count / (time.perf_counter() - begin), count / (time.process_time() - cpu)


def measure(arguments):
    """All models on all data sets, in all ways."""
    torch.set_num_threads(arguments.threads)
    print(f"{arguments.threads} thread(s), {arguments.batch} targets a batch")
    for dataset in arguments.datasets.split(","):
        for name in arguments.models.split(","):
            size = ", ".join(f"{key} {value}" for key, value in SIZES[name].items())
            print(f"\n{name} on {dataset}: L {LENGTHS[dataset]}, {size}")
            ways = (
                ("ours, all positions", name, {}, arguments.batches),
                ("RecBole's, batches cropped", f"recbole:{name}", {}, arguments.plain_batches),
                ("RecBole's, padded to L", f"recbole:{name}", PADDED, arguments.plain_batches),
            )
            ours = None
            for what, model_name, settings, batches in ways:
                model, loader, optimizer = build(model_name, dataset, arguments, **settings)
                rate, by_cpu = targets_a_second(model, loader, optimizer, model.ITEM_ID, batches)
                ours = ours or (rate, by_cpu)
                ratio = f", ratio {ours[0] / rate:.1f} ({ours[1] / by_cpu:.1f})"
                print(
                    f"{what}: {rate:.0f} targets/s ({by_cpu:.0f} by CPU time)"
                    + (ratio if ours[0] != rate else ""),
                    flush=True,
                )

"""Would torch's scaled_dot_product_attention be faster than the attention written here?

Causal attention of one head, as DreamRec and DimeRec encode histories, and differential attention,
ICDDT's, whose two maps share their values: as two calls' worth of heads, subtracted afterwards.
Milliseconds of the processor, medians; forward alone, and with the gradients of all inputs.
"""

import math
import time
from statistics import median

import torch
import torch.nn.functional as F

from recbole_diffusion.model.layers.basic import dropout

CAUSAL = [(256, 10, 64), (256, 50, 64), (64, 200, 64)]  # B, n, D
DIFFERENTIAL = [(256, 10, 128, 2), (256, 50, 128, 2)]  # B, n, D, H


def add_options(parser):
    """Adds what can be set to a parser."""
    parser.add_argument("--repeats", type=int, default=15, help="calls; the median counts")


def causal(q, k, v, p):
    """As in `CausalEncoder`, shapes: [B, n, D]."""
    n = q.shape[1]
    later = torch.ones(n, n, dtype=torch.bool).triu(1)
    score = q @ k.transpose(1, 2) / math.sqrt(q.shape[2])
    return dropout(score.masked_fill(later, -math.inf).softmax(dim=2), p, True) @ v


def causal_of_torch(q, k, v, p):
    """The same by torch."""
    q, k, v = (x[:, None] for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)[:, 0]


def differential(q, k, v, p):
    """As in `DifferentialAttention`; q and k: [B, 2H, n, d], v: [B, H, n, 2d]."""
    score = q / math.sqrt(q.shape[-1]) @ k.transpose(-1, -2)
    first, second = score.softmax(dim=-1).chunk(2, dim=1)
    return dropout(first - 0.2 * second, p, True) @ v


def differential_of_torch(q, k, v, p):
    """The same by torch, without dropout, which torch would draw for each map."""
    seen = F.scaled_dot_product_attention(q, k, torch.cat([v, v], dim=1))
    first, second = seen.chunk(2, dim=1)
    return first - 0.2 * second


def milliseconds(attend, inputs, p, gradients, repeats):
    """Of the processor, the median of some calls after two to warm up."""
    times = []
    for _ in range(repeats + 2):
        begin = time.process_time()
        seen = attend(*inputs, p)
        if gradients:
            seen.sum().backward()
        times.append(1000 * (time.process_time() - begin))
    return median(times[2:])


def measure(arguments):
    """Prints a table; takes the parsed arguments."""
    print(f"{torch.get_num_threads()} threads\n")
    print(
        "| attention | dropout | pass | here, ms | torch's, ms | ratio |\n|---|--:|---|--:|--:|--:|"
    )
    for name, sizes, here, of_torch, dropouts in (
        ("causal", CAUSAL, causal, causal_of_torch, (0.0, 0.1)),
        ("differential", DIFFERENTIAL, differential, differential_of_torch, (0.0,)),
    ):
        for size in sizes:
            for p in dropouts:
                for gradients in (False, True):
                    torch.manual_seed(0)
                    inputs = _inputs(size, gradients)
                    if not p:
                        torch.testing.assert_close(
                            here(*inputs, p), of_torch(*inputs, p), rtol=0, atol=1e-4
                        )
                    ours, theirs = (
                        milliseconds(attend, inputs, p, gradients, arguments.repeats)
                        for attend in (here, of_torch)
                    )
                    what = "with gradients" if gradients else "forward"
                    print(
                        f"| {name}, {' x '.join(map(str, size))} | {p:g} | {what} | {ours:.2f} "
                        f"| {theirs:.2f} | {theirs / ours:.2f} |",
                        flush=True,
                    )


def _inputs(size, gradients):
    B, n, D, *heads = size
    if not heads:
        shapes = [(B, n, D)] * 3
    else:
        shapes = [(B, 2 * heads[0], n, D // heads[0])] * 2 + [(B, heads[0], n, 2 * D // heads[0])]
    return [torch.randn(shape, requires_grad=gradients) for shape in shapes]

"""Do the items' embeddings collapse?"""

import torch.nn.functional as F

# Beyond these the items' embeddings have collapsed: mean pairwise cosine, share of first norm.
COLLAPSED_COSINE = 0.5


COLLAPSED_NORM = 0.1


def mean_pairwise_cosine(x):
    """How much vectors point in one direction: 1 if all do, about 0 if they point anywhere.

    Args:
        x (torch.Tensor): at least two vectors, shape: [n, D].

    Returns:
        float: mean of the cosines of all pairs of different vectors.
    """
    n, total = len(x), F.normalize(x.double()).sum(dim=0)
    return ((total @ total).item() - n) / (n * (n - 1))

"""Do the items' embeddings collapse?"""

import torch.nn.functional as F
from torch import nn

from recbole_diffusion.config import traits

# Beyond these the items' embeddings have collapsed: mean pairwise cosine, share of first norm.
COLLAPSED_COSINE = 0.5
COLLAPSED_NORM = 0.1


class CollapseWatch:
    """Follows the trained items' embeddings and warns once when they collapse.

    Args:
        model (torch.nn.Module): whose ``item_embedding`` is followed, if it has one.
        trained_items (torch.Tensor): which items training has, bool, shape: [n_items]; None follows
            nothing.
        logger (logging.Logger): where it is said.
    """

    def __init__(self, model, trained_items, logger):
        self.model, self.trained_items, self.logger = model, trained_items, logger
        self.advice = traits.of(type(model)).collapse_advice
        used = self.embeddings()
        self.first_norm = None if used is None else used.norm(dim=1).mean().item()

    def embeddings(self):
        """Embeddings of the trained items, shape: [n, D]; None where there are none."""
        table = traits.item_embedding(self.model)
        if not isinstance(table, nn.Embedding) or self.trained_items is None:
            return None
        return table.weight.detach()[: len(self.trained_items)][self.trained_items]

    def look(self):
        """Logs norm and spread of the embeddings, and warns of a model that says what to do.

        Returns:
            dict: norm, spread and cosine (float); empty where there are no two embeddings.
        """
        used = self.embeddings()
        if used is None or len(used) < 2:
            return {}
        norm, spread = used.norm(dim=1).mean().item(), used.std(dim=0).mean().item()
        cosine = mean_pairwise_cosine(used)
        self.logger.info(
            f"trained items' embeddings: norm {norm:.4f}, spread {spread:.4f}, mean pairwise "
            f"cosine {cosine:.4f}"
        )
        shrunk = norm < COLLAPSED_NORM * self.first_norm
        if self.advice and (cosine > COLLAPSED_COSINE or shrunk):
            what = f"point in one direction (mean pairwise cosine {cosine:.2f})"
            if shrunk:
                what = f"shrank to {norm / self.first_norm:.0%} of their norm"
            self.logger.warning(f"the items' embeddings collapse: they {what}; {self.advice}")
            self.advice = None  # said once
        return {"norm": norm, "spread": spread, "cosine": cosine}


def mean_pairwise_cosine(x):
    """How much vectors point in one direction: 1 if all do, about 0 if they point anywhere.

    Args:
        x (torch.Tensor): at least two vectors, shape: [n, D].

    Returns:
        float: mean of the cosines of all pairs of different vectors.
    """
    n, total = len(x), F.normalize(x.double()).sum(dim=0)
    return ((total @ total).item() - n) / (n * (n - 1))

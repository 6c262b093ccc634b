"""How do several processes evaluate as one? Each ranks some batches; all measure all rows."""

import torch

from recbole_diffusion import ranks
from recbole_diffusion.evaluator.top_items import TopCollector

BY_ROW = ("rec.topk", "rec.meanrank", "rec.score", "rec.items", "data.label")


class GatheringCollector(TopCollector):
    """RecBole's collector, whose data are those of all processes, in the order of one process.

    Batch b of an evaluation is that of process b modulo their number, see ``DrawnByBatch.share``.
    RecBole instead averages the metrics of the processes, rows that were repeated among them.
    """

    def __init__(self, config):
        super().__init__(config)
        self.ends = {}  # of the batches so far, in what is collected under a key

    def eval_batch_collect(self, scores, interaction, positive_u, positive_i, barred=None):
        """As of `TopCollector`."""
        super().eval_batch_collect(scores, interaction, positive_u, positive_i, barred)
        for key in BY_ROW:
            if key in self.data_struct:
                self.ends.setdefault(key, []).append(len(self.data_struct[key]))

    def get_data_struct(self):
        """What was collected, as RecBole's; with several processes of all of them."""
        ends, self.ends = self.ends, {}
        if ranks.count() > 1:
            own = {key: self.data_struct[key].tensor_split(ends[key][:-1]) for key in ends}
            found = ranks.of_all(own)
            for key in {key: None for parts in found for key in parts}:
                self.data_struct.set(key, in_order([parts.get(key, ()) for parts in found]))
        return super().get_data_struct()


def in_order(parts):
    """One tensor of the batches of some processes, which took turns.

    Args:
        parts (list of sequence of torch.Tensor): the batches of each process, in its order.

    Returns:
        torch.Tensor: batch 0 of process 0, batch 0 of process 1, .., batch 1 of process 0, ...
    """
    most = max(map(len, parts))
    return torch.cat([own[turn] for turn in range(most) for own in parts if turn < len(own)])

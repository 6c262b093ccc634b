"""How much of a ranking falls on items that training never saw, and what is left without them."""

from logging import getLogger

import torch

from recbole_diffusion import ranks
from recbole_diffusion.evaluator.gathering import GatheringCollector
from recbole_diffusion.evaluator.top_items import hits, top_items


class NeverTrainedAudit:
    """Counts, over one evaluation, the top-k slots and hits on never-trained items.

    Such items keep their initial embedding: hits on them are luck or an artefact. With
    ``candidates: trained`` they are barred from the ranking itself.

    Args:
        config (Config): keys ``topk``, ``candidates`` and those of RecBole's collector.
        trained_items (torch.Tensor): bool, shape: [n_items]; None where it is not known.
    """

    def __init__(self, config, trained_items):
        self.config = config
        self.ks = sorted(config["topk"])
        self.barred = None
        if trained_items is not None and config["eval_args"]["mode"]["test"] == "full":
            barred = ~trained_items
            barred[0] = False  # the padding is not a candidate anyway
            self.barred = barred.to(config["device"])
        self.any = self.barred is not None and bool(self.barred.any())
        self.slots = {k: 0 for k in self.ks}
        self.hits = {k: 0 for k in self.ks}
        self.barred_slots = {k: 0 for k in self.ks}
        self.barred_hits = {k: 0 for k in self.ks}
        self.collector = GatheringCollector(config) if self.any else None

    def collect(self, scores, rows, positive_u, positive_i):
        """Takes in one batch.

        Args:
            scores (torch.Tensor): scores to rank by, shape: [B, n_items]; those of barred items are
                overwritten.
            rows (Interaction): the batch.
            positive_u (torch.Tensor): rows of the positives, shape: [n_positives].
            positive_i (torch.Tensor): items of the positives, shape: [n_positives].

        Returns:
            torch.Tensor: the scores, never-trained items barred if the configuration says so.
        """
        if not self.any:
            return scores
        if self.config["candidates"] == "trained":
            scores.masked_fill_(self.barred, -torch.inf)
            self.collector.eval_batch_collect(scores, rows, positive_u, positive_i)
            return scores
        self.collector.eval_batch_collect(scores, rows, positive_u, positive_i, self.barred)
        top = top_items(scores, max(self.ks))  # [B, K]
        hit, _ = hits(top, positive_u, positive_i, scores.shape[1])
        never = self.barred[top]
        for k in self.ks:
            self.slots[k] += top[:, :k].numel()
            self.hits[k] += int(hit[:, :k].sum())
            self.barred_slots[k] += int(never[:, :k].sum())
            self.barred_hits[k] += int((hit & never)[:, :k].sum())
        return scores

    def report(self, data_struct, evaluator):
        """Sums up; warns when most hits are on never-trained items.

        Args:
            data_struct (recbole.evaluator.collector.DataStruct): what RecBole's collector knows of
                the training data (popularity and the like).
            evaluator (recbole.evaluator.Evaluator): computes the metrics.

        Returns:
            dict: ``items`` (count), and where there are any, ``slots@k`` and ``hits@k`` (their
            shares) and ``barred`` (the metrics with them barred); None if not known.
        """
        if self.barred is None:
            return None
        result = {"items": int(self.barred.sum())}
        struct = self.collector.get_data_struct() if self.any else None
        if struct is None or not struct._data_dict:  # nothing was ranked in full
            return result
        if self.config["candidates"] == "all":
            for counts in (self.slots, self.hits, self.barred_slots, self.barred_hits):
                counts.update(zip(self.ks, map(int, ranks.summed([counts[k] for k in self.ks]))))
            for k in self.ks:
                result[f"slots@{k}"] = self.barred_slots[k] / max(self.slots[k], 1)
                result[f"hits@{k}"] = self.barred_hits[k] / max(self.hits[k], 1)
            k = self.ks[-1]
            if self.hits[k] and result[f"hits@{k}"] > 0.5:
                getLogger().warning(
                    f"{result[f'hits@{k}']:.0%} of the hits at {k} are items that training never "
                    "saw: look at the metrics with them barred"
                )
        for key, value in data_struct._data_dict.items():
            if key.startswith("data."):
                struct.set(key, value)
        barred = evaluator.evaluate(struct)
        result["barred"] = {name: float(value) for name, value in barred.items()}
        return result

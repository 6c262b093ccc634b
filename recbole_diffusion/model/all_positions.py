"""How does a causal model of RecBole's train on all positions of a sequence at once?

RecBole gives its sequential models one row a prefix: for a sequence of 200 items the encoder passes
over 199 prefixes, though one pass over the longest has the states of all. Letters: B windows of a
batch, n items of the longest of them, M targets, k negative items a target, D size of the
embeddings.
"""

import torch

from recbole_diffusion.model.layers.cross_entropy import full_cross_entropy
from recbole_diffusion.model.layers.sampled_softmax import ItemLoss
from recbole_diffusion.model.positions import at, targets


def groups_by_length(length, group_cost=256):
    """Parts a batch into groups of like length, where that saves more padding than it costs.

    A group begins with the longest window that is left and holds those longer than half of it.

    Args:
        length (torch.Tensor): of each window, shape: [B].
        group_cost (int): how many positions of padding a group must save.

    Returns:
        list of torch.Tensor: the windows of each group, shape: [b]; in order of length, the longest
        first.
    """
    by_length, order = length.sort(descending=True, stable=True)
    held, begins = by_length.tolist(), [0]
    while True:
        longest = held[begins[-1]]
        begin = int((2 * by_length > longest).sum())
        if begin == len(held):
            break
        if (len(held) - begin) * (longest - held[begin]) < group_cost:
            break
        begins.append(begin)
    return list(order.tensor_split(begins[1:]))


class AllPositions:
    """Training on all positions for a model of RecBole's; mixed in before its class.

    For models whose ``forward(item_seq, item_seq_len)`` makes a state of every position out of the
    items up to it, takes that at ``item_seq_len - 1`` with ``gather_indexes``, and ranks by its
    inner products with ``item_embedding``. The loss is RecBole's, ``loss_type`` CE or BPR: the mean
    over the targets of a batch, whether they come one row a prefix or all of a window; or with
    ``loss: sampled`` the softmax over a sample, see ``ItemLoss``. Scores are RecBole's.
    """

    causal = True
    croppable = True
    mean_loss = True
    inner_product = True
    group_cost = 256  # of `groups_by_length`

    def __init__(self, config, dataset):
        """Build RecBole's network, and the sampled loss if it is asked for.

        Args:
            config (Config): RecBole's keys, ``loss``, ``n_negatives``.
            dataset (Dataset): the built training data.

        Raises:
            ValueError: if ``loss`` is sampled and ``loss_type`` is not CE.
        """
        super().__init__(config, dataset)
        self.item_loss = ItemLoss(config, dataset)
        if config["loss"] == "sampled" and self.loss_type != "CE":
            raise ValueError(
                f"loss is sampled, a softmax, but loss_type is {self.loss_type}: set loss_type: CE"
            )

    def gather_indexes(self, output, gather_index):
        """RecBole's, the states at one position a row; or those at every position.

        Args:
            output (torch.Tensor): states, shape: [B, n, D].
            gather_index (torch.Tensor): positions, shape: [B]; or 0 .. n - 1 of all rows, shape:
                [B, n].

        Returns:
            torch.Tensor: shape: [B, D], or ``output``.
        """
        return output if gather_index.dim() == 2 else super().gather_indexes(output, gather_index)

    def states(self, item_seq):
        """The state at every position, that of the prefix which ends there.

        Args:
            item_seq (torch.Tensor): items, left-aligned, 0 behind them, shape: [B, n].

        Returns:
            torch.Tensor: shape: [B, n, D].
        """
        length = torch.arange(1, item_seq.shape[1] + 1, device=item_seq.device)
        return self.forward(item_seq, length.expand_as(item_seq))

    def states_at_targets(self, interaction):
        """The states that the targets of a batch follow.

        Args:
            interaction (Interaction): windows, with the item after every item as target, 0 where
                there is none, shape: [B, n].

        Returns:
            tuple of torch.Tensor: states, rows, positions and target items, shapes: [M, D], [M],
            [M] and [M].
        """
        item_seq, length = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        found = []
        for group in groups_by_length(length, self.group_cost):
            longest = int(length[group[0]])
            states = self.states(item_seq[group, :longest])
            following = interaction[self.POS_ITEM_ID][group, :longest]
            row, position, target = targets(following, length[group])
            found.append((at(states, row, position), group[row], position, target))
        return tuple(torch.cat(parts) for parts in zip(*found))

    def calculate_loss(self, interaction):
        """RecBole's loss, the mean over the targets.

        Args:
            interaction (Interaction): one row a prefix, or windows as of ``states_at_targets``;
                with BPR also negative items, shapes: [B] and [B, n, k].

        Returns:
            torch.Tensor: shape: [].
        """
        one_a_row, sampled = interaction[self.POS_ITEM_ID].dim() == 1, self.item_loss.items
        if one_a_row and sampled is None:
            return super().calculate_loss(interaction)
        weight = self.item_embedding.weight
        if one_a_row:
            state = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
            return self.item_loss(state, weight, interaction[self.POS_ITEM_ID]).mean()
        state, row, position, target = self.states_at_targets(interaction)
        if sampled is not None:
            return self.item_loss(state, weight, target).mean()
        if self.loss_type == "CE":
            return full_cross_entropy(state, weight, target, ranks_padding=True).mean()
        negative = interaction[self.NEG_ITEM_ID][row, position]  # [M, k]
        score = (state * self.item_embedding(target)).sum(dim=1, keepdim=True)  # [M, 1]
        return self.loss_fct(score, (state[:, None] * self.item_embedding(negative)).sum(dim=2))

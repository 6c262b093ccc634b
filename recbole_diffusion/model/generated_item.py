"""How does a model rank that generates the next item's embedding?"""

import torch.nn.functional as F
from recbole.model.abstract_recommender import SequentialRecommender


class GeneratedItemRecommender(SequentialRecommender):
    """Ranks by the inner product with what is generated.

    A subclass gives ``items()``, the embeddings of all items, shape: [n_items, D];
    ``guidance(interaction)``, what is known of the histories; and ``generate(guidance)``, shape:
    [B, D].
    """

    generates = True

    def full_sort_predict(self, interaction):
        """Scores of all items, the padding in column 0.

        Args:
            interaction (Interaction): the batch.

        Returns:
            torch.Tensor: shape: [B, n_items].
        """
        return self.generate(self.guidance(interaction)) @ self.items().T

    def predict(self, interaction):
        """Scores of the given items.

        Args:
            interaction (Interaction): the batch.

        Returns:
            torch.Tensor: shape: [B].
        """
        x0 = self.generate(self.guidance(interaction))
        return (x0 * F.embedding(interaction[self.ITEM_ID], self.items())).sum(dim=1)

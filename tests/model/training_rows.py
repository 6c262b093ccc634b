"""A training data set of interaction rows without any file."""

import torch
from recbole.data.interaction import Interaction

from recbole_diffusion.data.loading import POSITION


class Rows:
    """As much of a built training data set as a model of interaction rows asks for."""

    uid_field, iid_field, dataset_name, dataset_path = "user_id", "item_id", "tiny", "nowhere"

    def __init__(self, pairs, user_num, item_num):
        user, item = (torch.tensor(column) for column in zip(*pairs))
        seen = [0] * user_num
        position = []
        for u, _ in pairs:
            position.append(seen[u])
            seen[u] += 1
        columns = {"user_id": user, "item_id": item, POSITION: torch.tensor(position)}
        self.inter_feat = Interaction(columns)
        self.user_num, self.item_num = user_num, item_num
        names = [f"i{item}" for item in range(item_num)]
        self.field2token_id = {"item_id": {name: item for item, name in enumerate(names)}}

    def num(self, field):
        return {"user_id": self.user_num, "item_id": self.item_num}[field]

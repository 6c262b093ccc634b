"""Who says what a user had, so that it is not drawn or not ranked?"""

from recbole.data.utils import create_samplers
from recbole.sampler import Sampler

from recbole_diffusion.data.lines import DataError


class SeenItems(Sampler):
    """RecBole's sampler where nothing is drawn: it only knows what each user had.

    RecBole refuses data in which a user has had every item, because none is left to be drawn.
    """

    def get_used_ids(self):
        items = self.item_num
        self.item_num = items + 1  # more than a user can have had
        try:
            return super().get_used_ids()
        finally:
            self.item_num = items


def make_samplers(config, dataset, parts):
    """RecBole's samplers; where all items are ranked and none is drawn, one that refuses nobody.

    Args:
        config (Config): the run's configuration.
        dataset (recbole.data.dataset.Dataset): the loaded data set.
        parts (list): train, valid and test.

    Returns:
        tuple of AbstractSampler: for train (None where nothing is drawn), valid and test.

    Raises:
        DataError: if items are to be drawn for a user who has had all of them.
    """
    draws = config["train_neg_sample_args"]["distribution"] != "none"
    draws |= set(config["eval_args"]["mode"].values()) != {"full"}
    if not draws and not config["repeatable"]:  # a user of sequential models may have all again
        seen = SeenItems(["train", "valid", "test"], parts)
        return None, seen.set_phase("valid"), seen.set_phase("test")
    try:
        return create_samplers(config, dataset, parts)
    except ValueError as error:
        raise DataError(f"data set '{dataset.dataset_name}': {error}") from error

"""Which items belong together? k-means on item embeddings, for L-DiffRec."""

from logging import getLogger

import torch
from recbole.data.dataloader import TrainDataLoader
from recbole.sampler import Sampler

from recbole_diffusion.config.keys import of_kind
from recbole_diffusion.data.embeddings import read_item_embeddings
from recbole_diffusion.trainer.choose import get_trainer
from recbole_diffusion.trainer.randomness import own_randomness

logger = getLogger(__name__)


def item_clusters(config, dataset):
    """Clusters the items; the same seed and data give the same clusters.

    Args:
        config (Config): keys ``n_cate``, ``item_embeddings``, ``cluster_epochs`` and ``seed``.
        dataset (Dataset): the built training data.

    Returns:
        torch.Tensor: the cluster of each item but the padding, shape: [n].

    Raises:
        DataError: if the file of embeddings is unusable.
        ValueError: if there are more clusters than items or than different vectors, or none.
    """
    n_items, n_cate = dataset.item_num - 1, config["n_cate"]
    if type(n_cate) is not int or not 1 <= n_cate <= n_items:
        raise ValueError(f"n_cate is {n_cate!r}; it must be a whole number in 1..{n_items} (items)")
    if n_cate == 1:
        return torch.zeros(n_items, dtype=torch.long)
    if config["item_embeddings"] is not None:
        embeddings = read_item_embeddings(str(config["item_embeddings"]), dataset)
    else:
        embeddings = light_gcn_embeddings(config, dataset)
    from sklearn.cluster import KMeans  # takes a second to import

    kmeans = KMeans(n_cate, n_init=10, random_state=config["seed"] % 2**32)
    clusters = torch.from_numpy(kmeans.fit_predict(embeddings)).long()
    sizes = torch.bincount(clusters, minlength=n_cate).tolist()
    if 0 in sizes:
        raise ValueError(
            f"n_cate is {n_cate}, but the items' vectors form {n_cate - sizes.count(0)}"
        )
    getLogger().info(f"items in each cluster: {sizes}")
    return clusters


def wrong_clusters(clusters, n_items, n_cate):
    """What keeps a checkpoint's clusters from being those of a model.

    Args:
        clusters (torch.Tensor): of the checkpoint, None where it has none.
        n_items (int): items but the padding.
        n_cate (int): clusters of the model.

    Returns:
        str: the end of a sentence; None if they are right.
    """
    if clusters is None:
        return "are missing"
    if clusters.dtype != torch.long or clusters.shape != (n_items,):
        return f"are not {n_items} whole numbers, one an item"
    if int(clusters.min()) < 0 or int(clusters.max()) >= n_cate:
        return f"are not in 0..{n_cate - 1}, the clusters of n_cate {n_cate}"
    return None


def light_gcn_embeddings(config, dataset):
    """Item embeddings of a LightGCN trained on the same training data, nothing held out.

    The run's own random numbers go on as if nothing had been trained in between.

    Args:
        config (Config): key ``cluster_epochs``, and those of the kind ``clusters``.
        dataset (Dataset): the built training data.

    Returns:
        numpy.ndarray: after the propagation, items but the padding, shape: [n, embedding_size].

    Raises:
        ValueError: if there are no epochs.
    """
    from recbole_diffusion.config.config import Config

    if type(config["cluster_epochs"]) is not int or config["cluster_epochs"] < 1:
        raise ValueError(f"cluster_epochs is {config['cluster_epochs']!r}; it must be at least 1")
    settings = {key: config[key] for key in of_kind("clusters") if config[key] is not None}
    settings |= {"epochs": config["cluster_epochs"], "BEHAVIOR_FIELD": None, "behavior_from": None}
    own = Config("LightGCN", config["dataset"], config_dict=settings)
    logger.info(f"training LightGCN for {own['epochs']} epochs to cluster the items")
    with own_randomness(config["seed"]):
        sampler = Sampler(["train"], [dataset]).set_phase("train")
        model = own.model_class(own, dataset).to(own["device"])
        trainer = get_trainer(own)(own, model)
        trainer.attach(dataset)
        trainer.fit(TrainDataLoader(own, dataset, sampler, shuffle=True), saved=False)
        with torch.no_grad():
            _, items = model.forward()
    return items[1:].cpu().numpy()

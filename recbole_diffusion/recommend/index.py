"""Which items have the largest inner products with a vector?

`Blocks` looks at all of them, a block of items at a time, so that memory does not grow with the
catalogue. `Nearest` looks at the likely ones. Its library is faiss-cpu: MIT licence, kept by Meta
with releases every few months, one wheel for every CPython from 3.10 on, and only numpy and
packaging behind it. usearch, the other candidate, has the same kind of index under the Apache
licence, but a wheel a Python version and a compiled library behind it.

Letters: B users of a batch, n items with the padding, D size of the embeddings, k items a list.
"""

import torch

LARGE = 100_000  # items of a catalogue of which the scores are not held all at once
SCORES = 1 << 25  # held at once: 128 MB
SAMPLE = 512  # users of whom lists are made both ways: half set the breadth, half tell the recall
RECALL = 0.95  # of the half that sets the breadth
SEEN = 1000  # items asked for more than k, at most, because they may have been seen
LINKS, BUILDING = 32, 40  # of an item; items that are kept in view when one is linked
NARROW, BROAD = 32, 1024  # bounds of the breadth: beyond, exact search is as fast


def best(scores, k):
    """The largest scores of each row; of equal ones those of the lower columns.

    Args:
        scores (torch.Tensor): shape: [B, n].
        k (int): how many, at most n.

    Returns:
        tuple of torch.Tensor: scores, falling, and columns; shape: [B, k] each.
    """
    score, column = torch.topk(scores, min(k + 1, scores.shape[1]), dim=1)
    last = score[:, k - 1]
    if score.shape[1] > k:  # where the next one is as good, topk took any of them
        tied = torch.nonzero((score[:, k] == last) & (last > -torch.inf)).flatten()
        score, column = score[:, :k], column[:, :k]
        if len(tied):
            among, bound = scores[tied], last[tied, None]
            above, equal = among > bound, among == bound
            room = k - above.sum(dim=1, keepdim=True)
            chosen = above | (equal & (equal.cumsum(dim=1) <= room))
            column[tied] = chosen.nonzero()[:, 1].view(-1, k)
            score[tied] = among.gather(1, column[tied])
    column, order = column.sort(dim=1)
    score, order = score.gather(1, order).sort(dim=1, descending=True, stable=True)
    return score, column.gather(1, order)


class Blocks:
    """Exact search."""

    def __init__(self, items, candidate):
        """Remember what to look at.

        Args:
            items (torch.Tensor): embeddings of all items, shape: [n, D].
            candidate (torch.Tensor): bool, which may be found, shape: [n].
        """
        self.items, self.barred = items, ~candidate.to(items.device)

    @torch.no_grad()
    def search(self, vectors, k, seen=None):
        """The best items for each vector.

        Args:
            vectors (torch.Tensor): shape: [B, D].
            k (int): how many, at most n.
            seen (tuple of torch.Tensor): rows of ``vectors`` and the items they must not get,
                shape: [n_seen] each; None is nothing.

        Returns:
            tuple of torch.Tensor: scores, falling, and items, the lower of equal ones first; -inf
            where there are fewer than k; shape: [B, k] each.
        """
        n, size = len(self.items), max(SCORES // max(len(vectors), 1), k)
        found = None
        for first in range(0, n, size):
            block = slice(first, min(first + size, n))
            scores = vectors @ self.items[block].T  # [B, size]
            if self.barred[block].any():
                scores[:, self.barred[block]] = -torch.inf
            if seen is not None:
                row, item = (part.to(scores.device) for part in seen)
                inside = (item >= block.start) & (item < block.stop)
                scores[row[inside], item[inside] - first] = -torch.inf
            score, item = best(scores, min(k, scores.shape[1]))
            item = item + first
            if found is not None:
                score, item = (torch.cat(pair, dim=1) for pair in zip(found, (score, item)))
                score, place = best(score, k)
                item = item.gather(1, place)
            found = score, item
        return found


class Nearest:
    """Search along links between items, towards those with larger inner products, by faiss.

    The links are a hierarchical navigable small world (Malkov and Yashunin, arXiv 1603.09320). With
    several threads two builds differ a little.

    Attributes:
        breadth (int): items that are kept in view on the way; more find more and take longer.
        exact (Blocks): for whom too few are found.
    """

    def __init__(self, items, candidate):
        """Build the index of the items that may be found; arguments as of `Blocks`.

        Raises:
            ImportError: without faiss, with the command that installs it.
        """
        faiss = import_faiss()
        self.exact, self.breadth = Blocks(items, candidate), NARROW
        self.item = torch.nonzero(candidate).flatten().cpu()
        vectors = items.detach()[self.item.to(items.device)].float().cpu().numpy()
        self.index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = BUILDING
        self.index.add(vectors)

    @torch.no_grad()
    def search(self, vectors, k, seen=None):
        """The best items for each vector that are found; as of `Blocks.search`.

        Whoever too few are found for gets those of exact search.
        """
        more = 0
        if seen is not None and len(seen[0]):
            more = min(int(torch.bincount(seen[0]).max()), SEEN)
        if k > len(self.item):
            return self.exact.search(vectors, k, seen)
        count = min(k + more, len(self.item))
        self.index.hnsw.efSearch = max(self.breadth, count)
        _, place = self.index.search(vectors.float().cpu().numpy(), count)
        place = torch.from_numpy(place)
        item = torch.where(place < 0, 0, self.item[place.clamp(min=0)])  # the padding: none there
        # Scored by the same product as elsewhere, in the model's own precision.
        device = vectors.device
        score = torch.einsum("bd,bkd->bk", vectors, self.exact.items[item.to(device)]).cpu()
        barred = item == 0
        if seen is not None:
            n = len(self.exact.items)
            pair = torch.arange(len(item))[:, None] * n + item
            barred |= torch.isin(pair, seen[0].cpu() * n + seen[1].cpu())
        score = score.masked_fill(barred, -torch.inf)
        item, order = item.sort(dim=1)  # so that of equal ones the lower come first
        score = score.gather(1, order)
        score, place = best(score, k)
        item = item.gather(1, place)
        short = torch.nonzero((score == -torch.inf).any(dim=1)).flatten()
        if len(short):
            own = None if seen is None else rows_of(seen, short, len(vectors))
            exact = self.exact.search(vectors[short.to(device)], k, own)
            score[short], item[short] = (part.cpu() for part in exact)
        return score, item

    def widen(self, vectors, k, seen=None):
        """Doubles the breadth until `RECALL` of exact lists is found; arguments as of `search`."""
        self.breadth = NARROW
        exact = self.exact.search(vectors, k, seen)
        while self.breadth < BROAD and recall(self, exact, vectors, k, seen) < RECALL:
            self.breadth *= 2


def import_faiss():
    """The library (module); ImportError with the command that installs it."""
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            'search by an index needs faiss: pip install "recbole-diffusion[ann]"'
        ) from error
    return faiss


def recall(nearest, exact, vectors, k, seen=None):
    """The share of the items of exact lists that an index finds.

    Args:
        nearest (Nearest): the index.
        exact (tuple of torch.Tensor): of `Blocks.search`.
        vectors, k, seen: as of `Blocks.search`.

    Returns:
        float: 1 if the exact lists are empty.
    """
    score, item = (part.cpu() for part in exact)
    there = score > -torch.inf
    found = nearest.search(vectors, k, seen)[1].cpu()
    hit = (item[:, :, None] == found[:, None]).any(dim=2) & there
    return float(hit.sum() / there.sum()) if there.any() else 1.0


def rows_of(seen, rows, count):
    """What some rows must not get, the rows numbered anew.

    Args:
        seen (tuple of torch.Tensor): as of `Blocks.search`.
        rows (torch.Tensor): which rows, shape: [m].
        count (int): how many there are.

    Returns:
        tuple of torch.Tensor: as ``seen``.
    """
    number = torch.full((count,), -1)
    number[rows] = torch.arange(len(rows))
    row = number[seen[0]]
    return row[row >= 0], seen[1][row >= 0]


def search_in_batches(search, vectors, places, k, seen=None):
    """Lists of many users.

    Args:
        search (Blocks or Nearest): how; the breadth of an index is set by a sample of the users.
        vectors (torch.Tensor): of all users, shape: [n_users, D].
        places (list of torch.Tensor): the users' places in batches, in the order of ``vectors``.
        k (int): items a list.
        seen (Callable): gives the ``seen`` of `Blocks.search` of some places; None is nothing.

    Returns:
        tuple: places, scores and items of each batch (list of tuple), and the recall over users
        that did not set the breadth (float, None of exact search).
    """
    share = None
    if isinstance(search, Nearest) and places:
        everybody = torch.cat(places)
        some = torch.linspace(0, len(everybody) - 1, min(SAMPLE, len(everybody))).long()
        for part in (some[::2], some[1::2] if len(some) > 1 else some):
            given = vectors[part], k, None if seen is None else seen(everybody[part])
            if share is None:
                search.widen(*given)
            share = recall(search, search.exact.search(*given), *given)
    lists, first = [], 0
    for place in places:
        own = vectors[first : first + len(place)]
        first += len(place)
        lists.append((place, *search.search(own, k, None if seen is None else seen(place))))
    return lists, share

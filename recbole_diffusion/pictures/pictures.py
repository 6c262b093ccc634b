"""What do the embeddings that a model generates look like, and what do guidance and steps do?

For any model that says of itself that it ``generates`` the next item's embedding; quality against
the guidance weight for those with the trait ``weighs_guidance``, against reverse steps for those
with a ``shorter_walk`` (config/traits.py).

Letters: R rows, D hidden size, T number of levels.
"""

import math
from logging import getLogger
from pathlib import Path
from time import monotonic

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from recbole_diffusion.config import traits
from recbole_diffusion.data.dataloader import ROW
from recbole_diffusion.diffusion.row_noise import by_row
from recbole_diffusion.evaluator.curves import changed, guidance_curve, steps_curve, walks
from recbole_diffusion.pictures.plots import (
    Dots,
    Map,
    curve_html,
    curve_png,
    map_html,
    map_png,
    map_subtitle,
    never_trained,
    number,
)
from recbole_diffusion.quick_start.saved_run import load_run
from recbole_diffusion.trainer.randomness import own_randomness
from recbole_diffusion.trainer.scoring import check_finite

logger = getLogger(__name__)

FILES = {"map": "item_map", "guidance": "guidance", "steps": "steps"}
WHAT = {
    "map": "generating vectors and laying them out with the items",
    "guidance": "ranking the validation rows with each guidance weight",
    "steps": "ranking the validation rows with each number of reverse steps",
}
METHODS = ("tsne", "pca")
WEIGHTS = (0.0, 1.0, 2.0, 4.0)
ROWS = 300
MOST_ITEMS = 2000  # t-SNE takes half a minute for as many
MOST_NEVER_TRAINED = 300


def draw(
    checkpoint_file,
    output=None,
    kinds=None,
    method="tsne",
    weights=None,
    steps=None,
    rows=ROWS,
    **settings,
):
    """Draws a trained model, as PNG and as HTML that needs no network.

    Args:
        checkpoint_file (str or Path): a checkpoint of the model.
        output (str or Path): the folder; None is ``pictures/<model>-<dataset>``.
        kinds (list of str): of ``map``, ``guidance`` and ``steps``; None is all that the model has.
        method (str): projection of the map, ``tsne`` or ``pca``.
        weights (list of float): guidance weights; None is 0, 1, 2 and 4. The model's own is added.
        steps (list of int): numbers of reverse steps; None is 1, 2, 5, 10 and 20 (1, 2, 4, 8 and 16
            over the lowest levels) as far as the model has levels. The model's own is added.
        rows (int): validation rows to generate vectors for, at most.
        **settings: for `load_run`, like ``data_path``.

    Returns:
        dict: ``title`` (model and data set), ``files`` (paths) and, by kind, what was drawn.

    Raises:
        ScoresError: if the model's scores are not finite.
        ValueError: for a model that generates no embedding or lacks what a kind draws, or a value
            out of range.
        CheckpointError: if the checkpoint cannot be used.
        DataError: if the data are missing or unusable.
        ImportError: if a library is missing, with the command that installs it.
    """
    _check_libraries()
    _check_values(kinds, method, weights, rows)
    run = load_run(checkpoint_file, **settings)
    model, config = run.trainer.model, run.config
    kinds = _kinds(model, config["model"], kinds)
    for kind, given in (("guidance", weights), ("steps", steps)):
        if given is not None and kind not in kinds:
            raise ValueError(f"{given} are for the picture '{kind}', which is not drawn here")
    if "steps" in kinds:
        walks(model, steps)  # refuses more than T
    if not len(run.valid_data._dataset):
        raise ValueError(f"{config['dataset']} has no validation rows to draw anything of")
    folder = Path(output or Path("pictures", f"{config['model']}-{config['dataset']}"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot write to {folder}: {error.strerror}") from error
    report = {"title": f"{config['model']} on {config['dataset']}", "files": []}
    measured = run.trainer, run.valid_data
    for place, kind in enumerate(kinds, start=1):
        begin = monotonic()
        logger.info(f"picture {place} of {len(kinds)}, {kind}: {WHAT[kind]}")
        if kind == "map":
            drawn = item_map(run, method, rows)
        elif kind == "guidance":
            drawn = guidance_curve(*measured, WEIGHTS if weights is None else weights, True)
        else:
            drawn = steps_curve(*measured, steps, True)
        png, page = folder / f"{FILES[kind]}.png", folder / f"{FILES[kind]}.html"
        write_png, write_html = (map_png, map_html) if kind == "map" else (curve_png, curve_html)
        write_png(png, report["title"], drawn)
        write_html(page, report["title"], drawn)
        report["files"] += [str(png), str(page)]
        report[kind] = drawn
        logger.info(f"{page}, {monotonic() - begin:.1f} s")
    return report


def _check_libraries():
    """Refuses to begin without what draws.

    Raises:
        ImportError: with the command that installs it.
    """
    try:
        import matplotlib.figure  # noqa: F401
        import plotly.graph_objects  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'pictures need matplotlib and plotly: pip install "recbole-diffusion[pictures]" '
            f"({error})"
        ) from error


def _check_values(kinds, method, weights, rows):
    for kind in kinds or []:
        if kind not in FILES:
            raise ValueError(f"there is no picture '{kind}'; there are {', '.join(FILES)}")
    if method not in METHODS:
        raise ValueError(f"method '{method}' is not one of {', '.join(METHODS)}")
    for weight in weights or []:
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"guidance weight {weight} is not a number of at least 0")
    if rows < 1:
        raise ValueError(f"{rows} rows; there must be at least 1")


def _kinds(model, name, kinds):
    """The kinds to draw, in order.

    Raises:
        ValueError: if the model lacks what a kind draws.
    """
    says = traits.of(type(model))
    if not says.generates:
        raise ValueError(f"{name} generates no embedding of an item: there is nothing to draw")
    lacking = {} if says.weighs_guidance else {"guidance": "guidance_weight"}
    if says.shorter_walk is None:
        lacking["steps"] = "walk that can take fewer steps"
    for kind in kinds or []:
        if kind in lacking:
            raise ValueError(f"{name} has no {lacking[kind]}: there is no picture '{kind}' of it")
    return [kind for kind in FILES if (kind in kinds if kinds else kind not in lacking)]


# ---------------------------------------------------------------- the map
@torch.no_grad()
def item_map(run, method, count):
    """Items and vectors generated for validation rows, in two dimensions.

    Scores are inner products, so the length of a generated vector changes no ranking, and training
    by cross-entropy lets it grow without bound: vectors are drawn at the items' median length.

    Args:
        run (SavedRun): the model and its data.
        method (str): ``tsne`` fits both together, ``pca`` the trained items alone.
        count (int): validation rows, at most.

    Returns:
        Map: what is to be drawn.

    Raises:
        ScoresError: if what the model generates is not finite.
    """
    model, train, valid = run.trainer.model, run.train_data._dataset, run.valid_data._dataset
    seed = run.config["seed"]
    rng = np.random.default_rng(seed)
    tokens = train.field2id_token[train.iid_field]
    popularity = np.bincount(train.inter_matrix(form="coo").col, minlength=train.item_num)
    trained = np.flatnonzero(popularity)
    never = np.flatnonzero(popularity == 0)[1:]  # without the padding
    shown = _some(rng, trained, MOST_ITEMS)
    shown = shown[np.argsort(popularity[shown], kind="stable")]  # the popular ones on top
    unseen = _some(rng, never, MOST_NEVER_TRAINED)

    index = torch.from_numpy(_some(rng, np.arange(len(valid)), count))
    with changed(model), own_randomness(seed):
        items = model.items().cpu().double().numpy()
        parts = []
        for part in index.split(run.config["eval_users_per_batch"]):
            rows = valid[part].to(model.device)
            with by_row(seed, rows[ROW]):
                parts.append(model.generate(model.guidance(rows)))
            check_finite(model, parts[-1] @ model.items().T, rows, valid)
    vectors = torch.cat(parts).cpu().double().numpy()  # [R, D]
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    usual = np.median(np.linalg.norm(items[trained], axis=1))
    vectors = vectors * usual / np.maximum(length, np.finfo(float).tiny)
    axes, xy = project(method, items[shown], np.concatenate([items[unseen], vectors]), seed)
    xy_items, xy_never, xy_vectors = np.split(xy, np.cumsum([len(shown), len(unseen)]))
    targets = valid[index][train.iid_field]
    return Map(
        axes=axes,
        trained=Dots(
            xy_items, [str(tokens[i]) for i in shown], popularity[shown].tolist(), len(trained)
        ),
        never_trained=Dots(
            xy_never, [str(tokens[i]) for i in unseen], [0] * len(unseen), len(never)
        ),
        generated=Dots(xy_vectors, [str(tokens[i]) for i in targets], of=len(valid)),
        lengths=(float(usual), float(np.median(length))),
        seed=seed,
    )


def _some(rng, values, most):
    """All values, or as many as there may be, drawn without replacement and sorted."""
    return values if len(values) <= most else np.sort(rng.choice(values, most, replace=False))


def project(method, items, others, seed):
    """Two coordinates for every vector.

    Args:
        method (str): ``tsne`` or ``pca``.
        items (numpy.ndarray): what PCA is fitted on, shape: [n, D].
        others (numpy.ndarray): vectors to project too, shape: [m, D].
        seed (int): of the method.

    Returns:
        tuple: names of the two axes, and the coordinates of both, shape: [n + m, 2].
    """
    both = np.concatenate([items, others])
    if method == "pca":
        pca = PCA(2, random_state=seed).fit(items)
        shares = pca.explained_variance_ratio_
        names = [
            f"component {i} ({share:.1%} of the variance)" for i, share in enumerate(shares, 1)
        ]
        return names, pca.transform(both)
    # The usual 30 neighbours are more than the smallest data sets have.
    tsne = TSNE(2, init="pca", perplexity=min(30, (len(both) - 1) / 3), random_state=seed)
    return ["t-SNE 1 (no unit)", "t-SNE 2 (no unit)"], tsne.fit_transform(both)


# ---------------------------------------------------------------- words
def numbers(report):
    """Files and numbers of `draw` as lines to read.

    Args:
        report (dict): of `draw`.

    Returns:
        str: the lines.
    """
    lines = [f"{report['title']}: validation"]
    for kind in FILES:
        drawn = report.get(kind)
        if isinstance(drawn, Map):
            lines += [
                f"map: {map_subtitle(drawn)}",
                f"  {never_trained(drawn)}; popularity {min(drawn.trained.popularity)} to "
                f"{max(drawn.trained.popularity)} interactions",
                f"  median length of items {drawn.lengths[0]:.4g}, of generated vectors "
                f"{drawn.lengths[1]:.4g}",
            ]
        elif drawn is not None:
            lines += _table(drawn)
    return "\n".join([*lines, *report["files"]])


def _table(curve):
    """One row per value of the setting, one column per metric."""
    names = [*curve.values[0], *(f"{name} barred" for name in curve.values[0] if curve.barred)]
    lines = ["".join([f"{curve.name:24}", *(f"{name:>16}" for name in names)])]
    marks = [" (the model's)" if x == curve.own else "" for x in curve.x]
    labels = [number(x) + mark for x, mark in zip(curve.x, marks)]
    rows = list(zip(labels, curve.values, curve.barred or [{}] * len(labels)))
    if curve.line:
        rows.append((curve.line[0].split()[0], curve.line[1], curve.line[2] or {}))
    for label, values, barred in rows:
        cells = [*values.values(), *barred.values()]
        lines.append("".join([f"  {label:22}", *(f"{cell:16.6f}" for cell in cells)]))
    return lines

"""How does a trained model leave this package? As a folder: graph or weights, ids, model card."""

import io
import json
import logging
import os
import shutil
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from recbole.data.interaction import Interaction

from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.recommend.card import card
from recbole_diffusion.recommend.graphs import BATCH, LENGTH, Graph, GraphError
from recbole_diffusion.recommend.histories import dataset_of, last_rows
from recbole_diffusion.recommend.reading import give_histories
from recbole_diffusion.recommend.recommender import load
from recbole_diffusion.trainer import checkpoint

FILES = {"onnx": "model.onnx", "torchscript": "model.pt", "safetensors": "model.safetensors"}
MADE_BY = "recbole-diffusion export"
TOLERANCE = 1e-4  # between a graph's scores and the model's
OPSET = 18


def export(checkpoint_file, format="onnx", output=None, model=None):
    """Writes a trained model as a folder that other programs read.

    A graph (``onnx``, ``torchscript``) is run and compared with the model before the folder is
    there: at two sizes of the batch and, where it reads histories, two lengths.

    Args:
        checkpoint_file (str or Path): the model's.
        format (str): ``onnx``, ``torchscript`` or ``safetensors``.
        output (str or Path): the folder; it must be new, empty or an earlier export. None is
            ``<checkpoint>-<format>`` beside the checkpoint.
        model (str or type): as of `load`.

    Returns:
        dict: ``folder`` (Path), ``file`` (Path) and, of a graph, ``checks``: of each
        ``batch``, ``length`` (None without histories) and ``difference``, the largest of a score.

    Raises:
        CheckpointError, ValueError: as of `load`.
        ConfigError: on an unknown format, or a folder that holds something else.
        GraphError: if the model cannot become a graph, or the graph's scores are not the model's.
        ImportError: without a library of the format, with the command that installs it.
        OSError: if the folder cannot be written.
    """
    if format not in FILES:
        raise ConfigError(f"format is {format!r}, not one of {', '.join(FILES)}")
    library(format)
    name = Path(checkpoint_file).name.removesuffix(".pth").removesuffix(".best")
    beside = Path(checkpoint_file).with_name(f"{name}-{format}")
    output = beside if output is None else Path(output)
    check_folder(output)
    recommender = load(checkpoint_file, model)
    state = checkpoint.load(checkpoint_file)
    with written(output) as folder:
        file = folder / FILES[format]
        about = {"made_by": MADE_BY, "format": format, "file": file.name}
        about |= {key: state[key] for key in ("model", "class", "dataset") if key in state}
        about["items"] = len(recommender.tokens[recommender.item_field]) - 1
        if format == "safetensors":
            report = {"values": save_weights(state, file)}
            about |= report
        else:
            graph = make_graph(recommender)
            save_graph(graph, recommender, format, file)
            report = {"checks": check_graph(graph, recommender, format, file)}
            about["inputs"] = [one._asdict() for one in graph.inputs]
            about["outputs"] = [{"name": "score", "shape": [BATCH, about["items"]]}]
            if graph.sequential:
                about["longest_history"] = longest(recommender)
        about["settings"] = settings(state)
        write_ids(recommender, folder)
        (folder / "config.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        (folder / "README.md").write_text(
            card(recommender, state, about, report.get("checks")), encoding="utf-8"
        )
    return {"folder": output, "file": output / FILES[format]} | report


def library(format):
    """Refuses a format whose library is not there (ImportError with the command)."""
    needed = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "safetensors": ("safetensors",)}
    for name in needed.get(format, ()):
        try:
            __import__(name)
        except ImportError as error:
            raise ImportError(
                f'format {format} needs {name}: pip install "recbole-diffusion[export]"'
            ) from error


# ------------------------------------------------------------------------------- the folder
def check_folder(folder):
    """Refuses a folder that holds anything but an earlier export (ConfigError)."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output {folder} is a file; it must be a folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    try:
        earlier = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        earlier = None
    if not isinstance(earlier, dict) or earlier.get("made_by") != MADE_BY:
        raise ConfigError(
            f"output {folder} holds something else than an earlier export: name another folder"
        )


@contextmanager
def written(folder):
    """A folder beside, which takes the place of ``folder`` at the end; nothing is left otherwise.

    Args:
        folder (Path): checked by `check_folder`.

    Yields:
        Path: where to write.
    """
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f"{folder.name}.{os.getpid()}.writing")
    before = folder.with_name(f"{folder.name}.{os.getpid()}.before")
    try:
        beside.mkdir()
        yield beside
        if folder.exists():
            os.replace(folder, before)
        os.replace(beside, folder)
    finally:
        if before.exists() and not folder.exists():
            os.replace(before, folder)
        for rest in (beside, before):
            shutil.rmtree(rest, ignore_errors=True)


def write_ids(recommender, folder):
    """Writes ``items.txt`` and, where the model reads behaviours, ``behaviors.txt``."""
    fields = {"items.txt": recommender.item_field, "users.txt": None}
    if recommender.reads == "user":
        fields["users.txt"] = recommender.user_field
    if recommender.config["BEHAVIOR_FIELD"] in recommender.tokens:
        fields["behaviors.txt"] = recommender.config["BEHAVIOR_FIELD"]
    for name, field in fields.items():
        if field is not None:
            lines = "".join(f"{token}\n" for token in recommender.tokens[field][1:])
            (folder / name).write_text(lines, encoding="utf-8")


def settings(state):
    """The settings of a run (dict), without the paths of the machine that it ran on."""
    found = json.loads(state["config"])

    def of_a_machine(value):
        parts = value if isinstance(value, list) else [value]
        return any(isinstance(part, str) and Path(part).is_absolute() for part in parts)

    return {key: value for key, value in found.items() if not of_a_machine(value)}


# ------------------------------------------------------------------------------- weights
def save_weights(state, file):
    """Writes all that the model scores with.

    Args:
        state (dict): of `checkpoint.load`.
        file (Path): .safetensors.

    Returns:
        dict: what of ``other_parameter`` is no tensor: numbers, and shapes of sparse matrices,
        whose ``data``, ``indices`` and ``indptr`` (compressed rows) are tensors.
    """
    from safetensors.torch import save

    tensors, values = dict(state["state_dict"]), {}
    for name, value in checkpoint.encode(state["other_parameter"]).items():
        if isinstance(value, dict) and "__sparse__" in value:
            for part, tensor in zip(("data", "indices", "indptr"), value["__sparse__"]):
                tensors[f"{name}.{part}"] = tensor
            values[name] = {"shape": value["shape"]}
        elif isinstance(value, dict) and "__array__" in value:
            tensors[name] = value["__array__"]
        elif isinstance(value, torch.Tensor):
            tensors[name] = value
        else:
            values[name] = value
    # safetensors refuses tensors that share memory
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    file.write_bytes(save(tensors, metadata={"format": "pt"}))
    return values


# ------------------------------------------------------------------------------- graphs
def longest(recommender):
    """The longest history that the model reads (int)."""
    return int(recommender.config["MAX_ITEM_LIST_LENGTH"])


def made_up(recommender, size, length, seed):
    """A batch of made-up histories.

    Args:
        recommender (Recommender): of the model.
        size (int): B.
        length (int): L; the first history is as long.
        seed (int): of the draws.

    Returns:
        Interaction: the batch.
    """
    draw = np.random.default_rng(seed)
    count = np.append(length, draw.integers(1, length + 1, size - 1))
    rows = {recommender.user_field: np.repeat(np.arange(1, size + 1), count)}
    n = len(recommender.tokens[recommender.item_field])
    rows[recommender.item_field] = draw.integers(1, n, count.sum())
    behavior = recommender.config["BEHAVIOR_FIELD"]
    target = None
    if behavior in recommender.tokens:
        n_behaviors = len(recommender.tokens[behavior])
        rows[behavior] = draw.integers(1, n_behaviors, count.sum())
        target = 1
    users = [str(number) for number in range(size)]
    data = dataset_of(recommender.config, recommender.tokens, users, pd.DataFrame(rows))
    user = torch.arange(1, size + 1)
    if recommender.reads == "row":
        give_histories(recommender.model, recommender.config, data)
        return Interaction({recommender.user_field: user})
    batch = last_rows(data, user, target)
    if target is not None:
        batch[behavior] = torch.from_numpy(draw.integers(1, n_behaviors, size))
    return batch


def sizes(recommender):
    """Two sizes of a batch and two lengths (list of tuple of int); none is 1, see `save_graph`."""
    most = longest(recommender) if recommender.reads == "sequence" else 20
    return [(3, min(4, most)), (5, most)]


def make_graph(recommender):
    """The graph of a model (Graph); GraphError as of `Graph`."""
    batches = [made_up(recommender, *size, seed) for seed, size in enumerate(sizes(recommender))]
    return Graph(recommender.model, recommender.config, batches).eval()


@contextmanager
def quiet():
    """Keeps what exporting libraries say of their own affairs out of the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def save_graph(graph, recommender, format, file):
    """Traces a graph and writes it.

    ONNX goes through ``torch.export``, TorchScript through ``torch.jit.trace``, which torch
    deprecates: it is for programs that cannot read ONNX.

    Args:
        graph (Graph): to write.
        recommender (Recommender): of the model.
        format (str): ``onnx`` or ``torchscript``.
        file (Path): where.

    Raises:
        GraphError: if it cannot be traced.
    """
    # A size of 1 would be taken for one that never changes, so that made-up batches have more.
    batch = made_up(recommender, *sizes(recommender)[0], seed=0)
    noise = graph.normals(batch, torch.Generator().manual_seed(0))
    values = (*graph.values(batch), *noise)
    try:
        with quiet(), torch.no_grad():
            if format == "torchscript":
                traced = io.BytesIO()  # on a full disk torch's own writing ends the process
                torch.jit.save(torch.jit.trace(graph, values, check_trace=False), traced)
                file.write_bytes(traced.getbuffer())
            else:
                save_onnx(graph, values, longest(recommender), file)
    except OSError:
        raise
    except Exception as error:  # of any kind: the model may be anybody's
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        first = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
        raise GraphError(
            f"{recommender.config['model']} cannot be written as {format}: {first}; format "
            "safetensors takes it"
        ) from error


def save_onnx(graph, values, most, file):
    """Writes a graph as ONNX, batch and lengths left open.

    Args:
        graph (Graph): to write.
        values (tuple of torch.Tensor): what it is traced with.
        most (int): the longest history.
        file (Path): where.
    """
    known = {BATCH: torch.export.Dim(BATCH), LENGTH: torch.export.Dim(LENGTH, max=max(most, 2))}
    shapes = tuple(
        {place: known[size] for place, size in enumerate(one.shape) if size in known}
        for one in graph.inputs
    )
    program = torch.onnx.export(
        graph,
        values,
        dynamo=True,
        dynamic_shapes=(shapes,),  # of *values
        input_names=[one.name for one in graph.inputs],
        output_names=["score"],
        opset_version=OPSET,
        verbose=False,
    )
    program.save(str(file))


def run_graph(format, file, graph, values):
    """Scores by what was written, shape: [B, n]."""
    if format == "torchscript":
        with torch.no_grad(), quiet():
            return torch.jit.load(str(file))(*values)
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    given = {one.name: value.numpy() for one, value in zip(graph.inputs, values)}
    return torch.from_numpy(session.run(None, given)[0])


def check_graph(graph, recommender, format, file):
    """Compares what was written with the model itself, on histories and noise that are made up.

    Args:
        graph (Graph): what was written.
        recommender (Recommender): of the model.
        format (str): ``onnx`` or ``torchscript``.
        file (Path): what was written.

    Returns:
        list of dict: ``batch``, ``length`` and ``difference`` of each size.

    Raises:
        GraphError: if a score differs by more than `TOLERANCE`, of its size where that is above 1.
    """
    found = []
    for seed, (size, length) in enumerate(sizes(recommender), start=7):
        batch = made_up(recommender, size, length, seed)
        noise = graph.normals(batch, torch.Generator().manual_seed(seed))
        expected = graph.expected(batch, noise)
        try:
            scores = run_graph(format, file, graph, (*graph.values(batch), *noise))
        except Exception as error:  # of the runtime, whichever it is
            raise GraphError(
                f"the {format} graph of {recommender.config['model']} does not run on a batch of "
                f"{size} histories of {length} items: {str(error).splitlines()[0]}"
            ) from error
        difference = float((scores - expected).abs().max())
        if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
            raise GraphError(
                f"the {format} graph of {recommender.config['model']} gives other scores than the "
                f"model, by {difference:.2g} on a batch of {size} histories of {length} items"
            )
        length = length if graph.sequential else None
        found.append({"batch": size, "length": length, "difference": difference})
    return found

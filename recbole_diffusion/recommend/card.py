"""What must be said of a trained model that leaves this package? Its card, as Markdown."""

import json

import yaml

from recbole_diffusion import __version__
from recbole_diffusion.config.keys import of_kind


def card(recommender, state, about, checks=None):
    """The model card.

    Args:
        recommender (Recommender): of the model.
        state (dict): its checkpoint, of `checkpoint.load`.
        about (dict): what ``config.json`` holds.
        checks (list of dict): of `check_graph`; None where there is no graph.

    Returns:
        str: Markdown with the front matter of a Hugging Face model card.
    """
    model, dataset = about["model"], about["dataset"]
    parts = [front(state, about), f"# {model} on {dataset}\n", opening(recommender, about)]
    parts += [use(about), protocol(state), metrics(state), limits(recommender, state, about)]
    if checks is not None:
        parts.append(checked(checks, about))
    parts.append(settings(about))
    return "\n".join(parts)


def front(state, about):
    """The front matter: what a machine reads (str)."""
    model, dataset = about["model"], about["dataset"]
    results = [
        {"type": name, "name": f"{name} (validation)", "value": value}
        for name, value in (state.get("best_valid_result") or {}).items()
    ]
    matter = {
        "library_name": "recbole-diffusion",
        "license": "unknown",
        "tags": ["recommendation", "recbole", model],
    }
    if results:
        task = {"type": "recommendation", "name": "top-k recommendation"}
        result = {"task": task, "dataset": {"name": dataset, "type": dataset}, "metrics": results}
        matter["model-index"] = [{"name": f"{model}-{dataset}", "results": [result]}]
    return "---\n" + yaml.safe_dump(matter, sort_keys=False, allow_unicode=True) + "---\n"


def opening(recommender, about):
    """What it is (str)."""
    parameters = sum(value.numel() for value in recommender.model.parameters())
    return (
        f"{about['model']}, trained with recbole-diffusion on the data set {about['dataset']}; "
        f"written by recbole-diffusion {__version__}.\n\n"
        f"- Items: {about['items']}, in `items.txt`, one a line\n"
        f"- Parameters: {parameters}\n"
        f"- Class: `{about.get('class', about['model'])}`\n"
    )


def use(about):
    """How it is used (str)."""
    lines = ["## Use\n"]
    if "inputs" not in about:
        lines.append(
            f"`{about['file']}` holds the weights under the names of the model's `state_dict`, and "
            "what else it scores with; `config.json` holds the settings that it is built of.\n"
        )
        return "\n".join(lines)
    lines.append(f"`{about['file']}` reads\n")
    for one in about["inputs"]:
        shape = ", ".join(map(str, one["shape"]))
        lines.append(f"- `{one['name']}` ({one['type']}, [{shape}]): {one['meaning']}")
    lines.append(
        f"\nand gives `score` (float32, [batch, {about['items']}]): column j, counted from 0, is "
        "the item of line j + 1 of `items.txt`. The largest are the best. What a user had before "
        "is not left out."
    )
    if "longest_history" in about:
        lines.append(f"Histories are the last {about['longest_history']} items at most.")
    if any(one["name"].endswith("noise") for one in about["inputs"]):
        lines.append(
            "The same noise gives the same scores; zeros are not what the model was made for."
        )
    return "\n".join(lines) + "\n"


def protocol(state):
    """How it was measured (str)."""
    config = json.loads(state["config"])
    lines = ["## Protocol\n"]
    for key in of_kind("protocol"):
        if config.get(key) is not None:
            lines.append(f"- {key}: `{json.dumps(config[key])}`")
    lines.append(
        f"- Selected by {config['valid_metric']} on validation, in epoch {state['best_epoch']}"
    )
    walk = state.get("walk_report")
    if walk:
        lines.append(
            f"- Reverse steps: {walk['steps']} of {walk['of']}, found on validation to rank as all "
            "do; the metrics below are of training, before they were found"
        )
    return "\n".join(lines) + "\n"


def metrics(state):
    """What came out (str)."""
    found = state.get("best_valid_result")
    if not found:
        return "## Metrics\n\nThere was no validation.\n"
    lines = ["## Metrics\n", "On validation, which the model was selected by:\n"]
    lines += ["| metric | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in found.items()]
    return "\n".join(lines) + "\n"


def limits(recommender, state, about):
    """What it cannot do (str)."""
    behavior = recommender.config["BEHAVIOR_FIELD"] in recommender.tokens
    reads = {
        "sequence": "It knows people by their last items in order, so anybody with a known item.",
        "row": "It knows people by the set of their items, so anybody with a known item.",
        "user": "It knows the users of training only (`users.txt`), none who came later.",
        "nothing": "It gives the same scores for all.",
    }
    lines = ["## Limits\n", f"- {reads[recommender.reads]}"]
    lines.append("- It cannot score items that are not in `items.txt`, nor say why it ranks one.")
    if behavior:
        lines.append("- It knows the behaviours in `behaviors.txt` and no others.")
    count = state.get("item_counts")
    if count is None:
        lines.append("- How many items were never trained on is not in the checkpoint.")
    else:
        never = int((count[1:] == 0).sum())
        lines.append(
            f"- {never} of {about['items']} items do not occur in training; their scores were not "
            "learnt."
        )
    lines.append("- The metrics above chose the model, so that they are a little too good.")
    lines.append(
        "- Of the data set's licence, and of what it allows to be done with the model, nothing is "
        "known here. The data tell what people did; so may the model."
    )
    return "\n".join(lines) + "\n"


def checked(checks, about):
    """How the graph was compared with the model (str)."""
    lines = ["## Check\n", "Largest difference to the model's own scores, made-up histories:\n"]
    lines += ["| batch | length | difference |", "|---|---|---|"]
    for one in checks:
        length = "" if one["length"] is None else one["length"]
        lines.append(f"| {one['batch']} | {length} | {one['difference']:.1e} |")
    return "\n".join(lines) + "\n"


def settings(about):
    """What it was trained with (str)."""
    text = yaml.safe_dump(about["settings"], allow_unicode=True, default_flow_style=None, width=90)
    return f"## Settings\n\n```yaml\n{text}```\n"

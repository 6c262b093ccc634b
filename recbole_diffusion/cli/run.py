"""``recbole-diffusion run``: one model on one data set."""

from recbole_diffusion import ranks
from recbole_diffusion.cli.parsing import parse_settings, with_verbosity
from recbole_diffusion.quick_start.still_rose import what_to_set

RUN_HELP = """\
train, select on validation, test once

Every setting is a --key=value (or --key value), and values are read as YAML. Those used most:
data        --dataset=NAME, --data_path=FOLDER, --config_files="a.yaml b.yaml"
training    --model=NAME, --epochs=N, --max_train_seconds=S, --learning_rate=X, --seed=N
evaluation  --topk=[5,10], --metrics=[Hit,NDCG], --valid_metric=NDCG@10, --walk_steps=auto
files       --checkpoint_dir=FOLDER, --result_file=FILE, --resume (go on where a killed run stopped)
words       --quiet (the table and errors), --verbose (all that the log's file has)
`recbole-diffusion settings MODEL` lists all.

examples:
  recbole-diffusion run --model=SASRec --epochs=3
  recbole-diffusion run --model=ICDDT --dataset=retail --learning_rate=1e-3 --topk=[10,20]
  recbole-diffusion run --model=SASRec --dataset=retail --config_files="a.yaml b.yaml"
  recbole-diffusion run --resume
  torchrun --nproc_per_node=2 -m recbole_diffusion run --model=SASRec
Without arguments ICDDT runs on ml-100k, which RecBole brings along. torchrun's are two processes,
or two GPUs, that share every batch."""


# Key of the result: what its metrics are divided by.
OTHER_MEANS = {
    "test_result_all_users": "divided by all users, also those without a test row:",
    "test_result_all_rows": "divided by all test rows, also those without a history:",
}


def run(arguments):
    """``recbole-diffusion run``: one model on one data set.

    Args:
        arguments (list of str): settings.

    Returns:
        int: exit code.
    """
    if {"-h", "--help"} & set(arguments):
        if ranks.first():
            print(RUN_HELP)
        return 0
    from recbole_diffusion.quick_start.quick_start import run_recbole_diffusion

    settings = with_verbosity(parse_settings(arguments))
    files = str(settings.pop("config_files", "")).split()
    model = settings.pop("model", None)
    dataset = settings.pop("dataset", None)
    if not files:  # an empty one is an unset variable of a shell, which Config refuses
        model = "ICDDT" if model is None else model
        dataset = "ml-100k" if dataset is None else dataset
    result = run_recbole_diffusion(model, dataset, files, settings)
    if ranks.first():
        print(table(result))
    return 0


def table(result):
    """Small readable tables of the test metrics, one row per metric, one column per k.

    Args:
        result (dict): of `run_recbole_diffusion`.

    Returns:
        str: the table, more of them where metrics are given as other means too, and a line on the
        cost.
    """
    title = f"\n{result['model']} on {result['dataset']}, seed {result['seed']}: test"
    lines = [title, result["protocol"], *_metrics(result["test_result"])]
    ks = sorted({int(name.split("@")[1]) for name in result["test_result"] if "@" in name})
    for key, words in OTHER_MEANS.items():
        if result.get(key) is not None:
            lines += [words, *_metrics(result[key])]
    if valid := result.get("best_valid_result"):
        lines += ["validation, of the best epoch:", *_metrics(valid)]
    never = result["never_trained_items"]
    if never and never["items"]:
        k = ks[-1] if ks else None
        share = f", {never[f'hits@{k}']:.1%} of the hits at {k}" if f"hits@{k}" in never else ""
        lines.append(f"{never['items']} candidates were never trained on{share}")
        if share:
            last = [name for name in never["barred"] if name.endswith(f"@{k}")]
            barred = ", ".join(f"{name} {never['barred'][name]:.4f}" for name in last)
            lines.append(f"with them barred: {barred}")
    lines.append(
        f"best epoch {result['best_epoch']} of {result['epochs']} (ended by "
        f"{result['stopped_by']}), {result['train_seconds']:.0f} s training, "
        f"{result['valid_seconds']:.0f} s validation, {result['eval_seconds']:.1f} s test, "
        f"{result['parameters']:,} parameters"
    )
    if result["checkpoint"]:
        lines.append(f"best model: {result['checkpoint']}")
    if result.get("log"):
        lines.append(f"log: {result['log']}")
    if more := what_to_set(result):
        lines.append(more)
    return "\n".join(lines)


def _metrics(values):
    """Lines of a table: metrics by name down, k across."""
    names = list(dict.fromkeys(name.split("@")[0] for name in values))
    ks = sorted({int(name.split("@")[1]) for name in values if "@" in name})
    lines = ["".join([f"{'':12}", *(f"{'@' + str(k):>10}" for k in ks)])]
    for name in names:
        cells = [values[name]] if name in values else [values.get(f"{name}@{k}") for k in ks]
        lines.append(f"{name:12}" + "".join(f"{c:10.4f}" for c in cells if c is not None))
    return lines

"""What kinds of key is each key of a configuration? One table, one row per key."""

from functools import lru_cache

KINDS = {
    "host": "RecBole reads it, also where none of RecBole's lists and YAMLs has it",
    "class": "names a model's class, which is not imported where only a file names it",
    "made": "a Config makes it of its other settings and of the machine, and makes it again",
    "ranking": "of overall.yaml, for models that rank items; RecBole's others have their own",
    "which_run": "says which model, data set or device is meant",
    "reading": "steers how a data set is read, though RecBole's list has it not",
    "loaded": "says which columns are read",
    "behaviors": "says where behaviours stand and which one is predicted",
    "column": "names a column of the interactions",
    "pickled": "has RecBole pickle whole objects, which loading would execute; refused",
    "filter": "takes rows out of the data; refused where the split is ready-made",
    "not_of_a_run": "does not change what is trained: a run may be resumed with another value",
    "not_again": "a run does it; where that run is looked at again, the key has its default",
    "one_training": "where another model is trained first, belongs to one of the two trainings",
    "clusters": "the LightGCN that clusters the items has it in common with the run it is for",
    "protocol": "says what is held out, trained on and ranked, which a model card states",
    "benchmark": "a benchmark sets it for every run",
    "all_rows": "in a benchmark the same for all rows",
    "seed": "in a benchmark what the seeds of a row differ in",
    "tune": "a search sets it for every trial",
}

KEYS = {
    # which run it is
    "model": "host class made which_run benchmark",
    "pretrain": "class",
    "dataset": "host made which_run benchmark",
    "config_files": "host not_of_a_run",
    "settings": "one_training",
    "MODEL_TYPE": "host made",
    "MODEL_INPUT_TYPE": "made",
    "seed": "clusters benchmark seed",
    "reproducibility": "clusters",
    # the machine
    "use_gpu": "not_of_a_run clusters",
    "gpu_id": "not_of_a_run clusters",
    "device": "made which_run not_of_a_run",
    "worker": "host not_of_a_run",
    "single_spec": "host made",
    "local_rank": "host made",
    "nproc": "host made",
    "world_size": "host made",
    "ip": "host made",
    "port": "host made",
    "offset": "host made",
    # files and words
    "data_path": "not_of_a_run",
    "checkpoint_dir": "not_of_a_run clusters benchmark seed tune",
    "result_file": "not_of_a_run not_again one_training benchmark tune",
    "resume": "not_of_a_run not_again benchmark tune",
    "show_progress": "not_of_a_run clusters benchmark",
    "state": "not_of_a_run",
    "verbosity": "not_of_a_run clusters",
    "log_wandb": "not_of_a_run not_again",
    "wandb_project": "not_of_a_run",
    "prepare_hint": "not_of_a_run",
    "loss_decimal_place": "not_of_a_run",
    "metric_decimal_place": "not_of_a_run",
    "save_dataset": "pickled",
    "dataset_save_path": "pickled",
    "save_dataloaders": "pickled",
    "dataloaders_save_path": "pickled",
    # columns
    "USER_ID_FIELD": "column clusters",
    "ITEM_ID_FIELD": "column clusters",
    "TIME_FIELD": "column clusters",
    "BEHAVIOR_FIELD": "column reading behaviors",
    "LABEL_FIELD": "column clusters",
    "NEG_PREFIX": "clusters",
    "encoding": "host reading",
    "load_col": "ranking loaded",
    "unload_col": "loaded",
    "alias_of_entity_id": "host reading",
    "numerical_features": "host reading",
    "discretization": "host reading",
    "kg_reverse_r": "host",
    "behavior_input": "made",
    "ordered_history": "made",
    # rows and splits
    "benchmark_filename": "host",
    "rm_dup_inter": "filter",
    "val_interval": "filter",
    "user_inter_num_interval": "host filter",
    "item_inter_num_interval": "host filter",
    "entity_kg_num_interval": "host",
    "relation_kg_num_interval": "host",
    "eval_args": "protocol",
    "SPLIT": "protocol",
    "split_seed": "all_rows",
    "held_out_items": "protocol",
    "train_rows": "protocol",
    "behavior_from": "behaviors",
    "target_behavior": "protocol behaviors",
    "mask_history": "protocol",
    "candidates": "protocol",
    "trains_on_first_rows": "made",
    "crop_history": "one_training",
    "shuffle": "host",
    "transform": "host",
    "mask_ratio": "host",
    "eta": "host",
    "beta": "host",
    # training
    "epochs": "not_of_a_run",
    "stopping_step": "not_of_a_run",
    "max_train_seconds": "not_of_a_run one_training all_rows",
    "measure_energy": "not_of_a_run not_again one_training",
    "lr_scheduler": "one_training",
    "adam_betas": "one_training",
    "require_pow": "host",
    "enable_amp": "host",
    "enable_scaler": "host",
    # evaluation
    "metrics": "ranking not_of_a_run",
    "topk": "not_of_a_run",
    "valid_metric": "ranking",
    "valid_metric_bigger": "made",
    "valid_neg_sample_args": "made",
    "test_neg_sample_args": "made",
    "eval_type": "host made",
    "eval_batch_size": "not_of_a_run",
    "eval_users_per_batch": "not_of_a_run",
    "eval_memory_mb": "not_of_a_run",
    "all_users": "not_of_a_run one_training",
    "tail_ratio": "host",
}


@lru_cache
def of_kind(kind):
    """The keys of a kind.

    Args:
        kind (str): of ``KINDS``.

    Returns:
        tuple of str: the keys, in the order of the table.

    Raises:
        KeyError: if there is no such kind.
    """
    KINDS[kind]
    return tuple(key for key, kinds in KEYS.items() if kind in kinds.split())

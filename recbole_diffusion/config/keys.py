"""What kind of key is each key of a configuration? One table a kind."""

# Read by RecBole without standing in any of its lists or YAMLs.
HOST_KEYS = {
    "model", "dataset", "config_files", "encoding", "tail_ratio", "worker",
    "shuffle", "require_pow", "enable_amp", "enable_scaler", "transform", "numerical_features",
    "single_spec", "local_rank", "nproc", "world_size", "ip", "port", "offset", "eval_type",
    "user_inter_num_interval", "item_inter_num_interval", "entity_kg_num_interval",
    "relation_kg_num_interval", "kg_reverse_r", "alias_of_entity_id", "discretization",
    "benchmark_filename", "MODEL_TYPE",
}  # fmt: skip


# Pickled files that loading would execute; see README "Coming from RecBole".
PICKLED = ("save_dataset", "dataset_save_path", "save_dataloaders", "dataloaders_save_path")


# Settings that do not change what is trained: a run may be resumed with others.
NOT_PART_OF_A_RUN = {
    "epochs", "stopping_step", "max_train_seconds", "resume", "result_file", "show_progress",
    "state", "checkpoint_dir", "data_path", "gpu_id", "use_gpu", "device", "log_wandb",
    "config_files", "all_users", "eval_users_per_batch", "eval_batch_size", "prepare_hint",
    "topk", "metrics", "worker", "loss_decimal_place", "metric_decimal_place", "wandb_project",
}  # fmt: skip


# What a Config makes of its settings and of the machine, and makes anew.
MADE_BY_CONFIG = {
    "model", "dataset", "MODEL_TYPE", "MODEL_INPUT_TYPE", "eval_type", "valid_metric_bigger",
    "valid_neg_sample_args", "test_neg_sample_args", "behavior_input", "ordered_history",
    "trains_on_first_rows", "device", "single_spec", "local_rank", "nproc", "world_size", "ip",
    "port", "offset",
}  # fmt: skip


# What a run does that one who looks at it again does not.
NOT_AGAIN = {"resume": None, "result_file": None, "log_wandb": False}


# What both trainings have in common: RecBole's keys of these kinds and those of overall.yaml,
# but not what belongs to the training of one of them.
SHARED_KINDS = ("General", "Evaluation", "Dataset")
OF_ONE_TRAINING = {
    "max_train_seconds", "lr_scheduler", "adam_betas", "result_file", "crop_history", "all_users",
}  # fmt: skip


# What the embeddings' training has in common with the run they are for.
SHARED_SETTINGS = (
    "seed", "reproducibility", "use_gpu", "gpu_id", "show_progress",
    "checkpoint_dir", "USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD", "LABEL_FIELD", "NEG_PREFIX",
)  # fmt: skip

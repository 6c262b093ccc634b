"""On which device does a run compute? One that was asked for and is not there is refused."""

import os
import re

import torch

from recbole_diffusion import ranks
from recbole_diffusion.config.values import ConfigError

_IDS = re.compile(r"(\d+|(GPU|MIG)-[\w/-]+)(,(\d+|(GPU|MIG)-[\w/-]+))*$")
DEFAULT = "0"  # RecBole's gpu_id, which machines without a GPU have too


def settle(settings, asked):
    """Makes RecBole's ``gpu_id`` out of ``use_gpu``, ``gpu_id`` and ``device``.

    Args:
        settings (dict): all settings; ``gpu_id`` is set.
        asked (dict): those that were given.

    Raises:
        ConfigError: if what was given names no device.
    """
    value = settings.get("gpu_id")
    ids = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    ids = "" if value is None else ids.replace(" ", "")
    if ids == "-1":  # hides all of them
        ids = ""
    if ids and not _IDS.match(ids):
        raise ConfigError(
            f"gpu_id is {value!r}, it must be the number of a GPU, several with commas, or nothing "
            "for the CPU"
        )
    device = str(asked["device"]) if "device" in asked else None
    if device is not None and not re.match(r"(cpu|cuda(:\d+)?)$", device):
        raise ConfigError(f"device is {device!r}, it must be one of cpu, cuda, cuda:N")
    if device is not None and ":" in device and "gpu_id" not in asked:
        ids = device.partition(":")[2]
    if device == "cpu" or not settings["use_gpu"]:
        ids = ""
    if ids and ranks.count() > 1:
        numbered = "gpu_id" in asked or (device is not None and ":" in device)
        ids = _of_this_process(ids if numbered else os.environ.get("CUDA_VISIBLE_DEVICES"))
    settings["gpu_id"] = ids


def _of_this_process(ids):
    """The GPU of one of several processes: each has its own, and sees no other.

    Raises:
        ConfigError: if fewer were asked for than there are processes on the machine.
    """
    if not ids:
        return str(ranks.here())
    given = ids.split(",")
    if ranks.here() >= len(given):
        raise ConfigError(
            f"gpu_id is {ids}, which has no GPU for process {ranks.here() + 1} of this machine: "
            "start as many with --nproc_per_node as there are GPUs"
        )
    return given[ranks.here()]


def check(config, asked):
    """Refuses a GPU that was asked for and is not there.

    Args:
        config (Config): with the device it will have.
        asked (dict): the settings that were given.

    Returns:
        str: what to warn of, None where nothing was asked for in vain.

    Raises:
        ConfigError: naming the setting that asked for it.
    """
    if config["device"].type != "cpu":
        return None
    for_the_cpu = "set use_gpu: False for the CPU"
    if str(asked.get("device", "")).startswith("cuda"):
        raise ConfigError(f"device is {asked['device']}, but {_none()}: {for_the_cpu}")
    ids = config["gpu_id"]
    if "gpu_id" in asked and ids not in ("", DEFAULT):
        raise ConfigError(f"gpu_id is {ids}, but {_none()}: {for_the_cpu}")
    if ids and (asked.get("use_gpu") is True or "gpu_id" in asked):
        key = "use_gpu" if asked.get("use_gpu") is True else "gpu_id"
        return f"{key} is {asked[key]}, but {_none()}: the run computes on the CPU"
    return None


def _none():
    cuda = "torch is built without CUDA" if not torch.version.cuda else "there is none"
    return f"no such GPU is to be used here ({cuda})"

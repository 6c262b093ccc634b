"""Is the content of a checkpoint what was stored? A hash over all of its values."""

import hashlib
import struct

import torch

_SMALL = 1000  # nodes of a checkpoint that is smaller than its file says


class _Content:
    """Feeds plain values and tensors to a hash, each with its kind and size.

    Args:
        most (int): values that there can be; more are references to the same ones, over and over.
    """

    def __init__(self, most):
        self.hash, self.left = hashlib.blake2b(digest_size=16), most

    def add(self, value):
        self.left -= 1
        if self.left < 0:
            raise ValueError("it refers to the same values over and over")
        if value is None or isinstance(value, bool):
            self._text(str(value))
        elif isinstance(value, int):
            self._text(f"int {value}")
        elif isinstance(value, float):
            self.hash.update(b"float" + struct.pack("<d", value))
        elif isinstance(value, str):
            self._text("str " + value)
        elif isinstance(value, torch.Tensor):
            self._tensor(value)
        elif isinstance(value, dict):
            self._text(f"dict {len(value)}")
            for key, item in value.items():
                self.add(key)
                self.add(item)
        elif isinstance(value, (list, tuple)):
            self._text(f"{type(value).__name__} {len(value)}")
            for item in value:
                self.add(item)
        else:
            raise ValueError(f"it holds a {type(value).__name__}")

    def _text(self, text):
        content = text.encode("utf-8", "surrogatepass")
        self.hash.update(struct.pack("<q", len(content)) + content)

    def _tensor(self, value):
        value = value.detach()
        if value.is_sparse:
            parts = [value._indices(), value._values()]
        elif value.layout == torch.sparse_csr:
            parts = [value.crow_indices(), value.col_indices(), value.values()]
        elif value.layout == torch.strided:
            parts = []
        else:
            raise ValueError(f"it holds a tensor of layout {value.layout}")
        self._text(f"tensor {value.dtype} {list(value.shape)} {len(parts)}")
        if parts:
            for part in parts:
                self._tensor(part)
            return
        if value.is_meta or value.is_quantized or not is_compact(value):
            raise ValueError("it holds a tensor without numbers of its own")
        numbers = value.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        if numbers.is_complex():
            numbers = torch.view_as_real(numbers).reshape(-1)
        size = numbers.element_size()
        kind = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[size]
        self.hash.update(numbers.view(kind).numpy().astype(f"<i{size}", copy=False).data)


def is_compact(tensor):
    """Whether a tensor has at least as many bytes in memory as it has numbers."""
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def digest_of(content, size=None):
    """A hash of plain values and tensors.

    Args:
        content: dictionaries, lists and tuples of plain values and tensors.
        size (int): bytes of the file that they were read from; None trusts them.

    Returns:
        str: in hexadecimal.

    Raises:
        ValueError: on anything else, or on more than a file of that size can hold.
    """
    collected = _Content(float("inf") if size is None else size + _SMALL)
    try:
        collected.add(content)
    except (RecursionError, KeyError, RuntimeError) as error:
        raise ValueError("it is nested too deeply or holds tensors of an odd kind") from error
    return collected.hash.hexdigest()

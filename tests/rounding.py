"""When are two roads to the same numbers equal? When they differ by rounding alone."""

import torch


def close(ours, theirs, rel=1e-5, **options):
    """Asserts that two tensors are equal but for rounding.

    A float32 is rounded relative to its own size, and a sum or a product of matrices relative to
    the largest of what it is made of, so that the largest number in ``theirs`` sets how far any may
    be off: scores near 13 lie 1e-6 apart.

    Args:
        ours, theirs (torch.Tensor): of one shape.
        rel (float): how far, over the largest of ``theirs``, or over 1 if that is larger.
        options: of ``torch.testing.assert_close``.
    """
    theirs = torch.as_tensor(theirs)
    largest = theirs.detach().abs().max().item() if theirs.numel() else 0
    torch.testing.assert_close(ours, theirs, rtol=0, atol=rel * max(1, largest), **options)

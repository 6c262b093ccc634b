"""What is made from a model's weights once, and kept while they stay the same."""

import torch


class Derived:
    """Makes a value when it is first asked for, and again after the weights have changed.

    Some optimisers leave a tensor's version as it was, so a model also calls ``forget`` when it
    goes into training or evaluation.
    """

    def __init__(self, make, module):
        """Remember how and from what.

        Args:
            make (Callable): gives the value.
            module (nn.Module): whose parameters it is made from.
        """
        self._make, self._parameters = make, module.parameters
        self.forget()

    def forget(self):
        """Drops the value and its memory."""
        self._value = self._state = None

    @torch.no_grad()
    def __call__(self):
        """The value of the weights as they are."""
        state = tuple((p.data_ptr(), p._version) for p in self._parameters())
        if self._state != state:
            self._value, self._state = self._make(), state
        return self._value

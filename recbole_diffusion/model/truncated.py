"""How many of the lowest levels does a walk begin with?"""

import torch

from recbole_diffusion.diffusion.reverse import evenly_spaced
from recbole_diffusion.model.next_item import NextItemDiffusion


class TruncatedWalk(NextItemDiffusion):
    """Walks the lowest S of the T levels, from noise at level S.

    S is a setting, or found after training: ``truncation: auto``, which is ``walk_steps: auto``
    from all levels. It stands in the weights too, as ``walk_steps``.
    """

    def truncate(self, truncation, mass=None):
        """Set S; ``auto`` begins with all levels, and a number in ``walk_steps`` comes before it.

        Args:
            truncation (float or str): share of the levels in (0, 1], ``auto``, or ``mass``.
            mass (int): S by ``mass``; None where the model has no such choice.

        Raises:
            ValueError: if the truncation is none of these.
        """
        T = self.diffusion.steps
        number = isinstance(truncation, (int, float)) and not isinstance(truncation, bool)
        if truncation == "auto":
            steps = T
        elif truncation == "mass" and mass is not None:
            steps = mass
        elif number and 0 < truncation <= 1:
            steps = max(1, int(T * truncation + 1e-9))  # 100 * 0.29 is 28.999...
        else:
            words = "'auto'" if mass is None else "'mass', nor 'auto'"
            raise ValueError(
                f"truncation {truncation!r} is neither a share of the steps in (0, 1], nor {words}"
            )
        if self.wanted_steps is None:
            self.wanted_steps = "auto" if truncation == "auto" else steps
        if self.wanted_steps != "auto":
            steps = self.wanted_steps
        self.register_buffer("walk_steps", torch.tensor(self.levels_of(steps)[0]))

    def levels_of(self, count):
        """The lowest ``count`` levels and 0, from the top (list of int); ValueError beyond T."""
        evenly_spaced(self.diffusion.steps, count)
        return list(range(count, -1, -1))

    def short_levels(self, count):
        """As ``levels_of``."""
        return self.levels_of(count)

    @property
    def levels(self):
        """The levels that a walk visits (list of int)."""
        return self.levels_of(int(self.walk_steps))

    @levels.setter
    def levels(self, levels):
        self.walk_steps.fill_(levels[0])

    def load_other_parameter(self, para):
        """As ``WalkSteps`` does: S stays where the settings give it, whatever the weights say."""
        super().load_other_parameter(para)
        if self.wanted_steps != "auto":
            self.levels = self.levels_of(self.wanted_steps)

"""How many steps does a reverse walk take: those of the settings, or those found after training?"""

from recbole_diffusion.diffusion.reverse import evenly_spaced


class WalkSteps:
    """``levels`` of a model with a ``diffusion``, and the setting ``walk_steps``; a mixin.

    The levels that a constructor sets are the model's own. A number in ``walk_steps`` stands in
    for them, here and when a checkpoint is loaded. ``auto`` begins with them; what is then found on
    the best model (``trainer/short_walks.py``) travels in its checkpoint as ``found_steps``.

    Attributes:
        wanted_steps (int or str): ``walk_steps`` of the settings: a number, ``auto``, or None.
        found_steps (int): what was found after training; 0 before.
    """

    shorter_walk = "levels"

    def __init__(self, config, dataset):
        """Read ``walk_steps``; arguments are those of every model."""
        super().__init__(config, dataset)
        self.wanted_steps, self.found_steps = config["walk_steps"], 0
        self._levels = None

    def levels_of(self, count):
        """The levels that a walk of so many steps visits (list of int); ValueError beyond T."""
        return evenly_spaced(self.diffusion.steps, count)

    def short_levels(self, count):
        """The levels of a walk of so many steps that stands for the one over all of them.

        Evenly spaced from T to 1, and then 0: where a walk arrives is its estimate at the last
        level above 0, which for all levels is 1.

        Args:
            count (int): number of steps.

        Returns:
            list of int: the levels, ``count`` + 1 of them.

        Raises:
            ValueError: if count is not in 1..T.
        """
        levels = evenly_spaced(self.diffusion.steps, count)
        if count > 1:
            below = evenly_spaced(self.diffusion.steps - 1, count - 1)
            levels[:-1] = [level + 1 for level in below]
        return levels

    @property
    def levels(self):
        """The levels that a walk visits, the last one 0 (list of int)."""
        return self._levels

    @levels.setter
    def levels(self, levels):
        if self._levels is None and isinstance(self.wanted_steps, int):
            levels = self.short_levels(self.wanted_steps)
        self._levels = list(levels)

    def take_steps(self, found):
        """Walk with as many steps as were found after training.

        Args:
            found (int): their number.

        Raises:
            ValueError: if it is not in 1..T.
        """
        if type(found) is not int:
            raise ValueError(f"found_steps is {found!r}, not a whole number")
        self.levels = self.short_levels(found)
        self.found_steps = found

    def other_parameter(self):
        """What a checkpoint holds beside the weights (dict)."""
        return super().other_parameter() | {"found_steps": self.found_steps}

    def load_other_parameter(self, para):
        """Take what a checkpoint holds; steps that the settings give as a number stay.

        Args:
            para (dict): of ``other_parameter``; without ``found_steps`` of earlier versions.

        Raises:
            ValueError: as ``take_steps`` does.
        """
        super().load_other_parameter(para)
        if self.wanted_steps == "auto" and self.found_steps != 0:
            self.take_steps(self.found_steps)

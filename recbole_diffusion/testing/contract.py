"""Does a model keep what the package expects of every model? A check per law."""

from contextlib import chdir
from typing import NamedTuple

from recbole_diffusion.config import traits
from recbole_diffusion.model.next_item import NextItemDiffusion
from recbole_diffusion.testing import laws
from recbole_diffusion.testing.lists import can_recommend
from recbole_diffusion.testing.subject import Subject
from recbole_diffusion.trainer.randomness import own_randomness


class Check(NamedTuple):
    """One law and the model it is checked on; call it, or print its name.

    Attributes:
        law (Callable): raises AssertionError for a subject that breaks it.
        subject (Subject): the model.
    """

    law: object
    subject: object

    def __str__(self):
        return self.law.__name__

    def __call__(self):
        """Check the law.

        Raises:
            AssertionError: if the model breaks it, with the law and the model's name.
        """
        with chdir(self.subject.folder), own_randomness(self.subject.settings["seed"]):
            self.law(self.subject)


def model_checks(model, folder=None, **settings):
    """The checks of a model one by one, as for ``pytest.mark.parametrize(..., ids=str)``.

    Args:
        model (str or type): as of ``check_model``.
        folder (str or Path): as of ``check_model``.
        **settings: as of ``check_model``.

    Returns:
        list of Check: each can be called, and its ``str`` is its name.

    Raises:
        ValueError: for an unknown model, or one that is neither general nor sequential.
    """
    subject = Subject(model, folder, settings)
    return [Check(law, subject) for law, applies in LAWS if applies(subject)]


def check_model(model, folder=None, **settings):
    """Checks that a model keeps what the package expects of every model.

    Sequential models are trained on a chain of items, where the next item is known, and on random
    items; general ones on a checkerboard (even users have even items) and on random halves.

    Args:
        model (str or type): a model's name (``my_module:MyModel``, or of an installed package) or
            class.
        folder (str or Path): where data and checkpoints are written; None is a temporary folder.
        **settings: of the model, over its YAML and those of the checks (``subject.SETTINGS``).
            Give sizes with which it trains in a second, and if need be ``epochs`` and
            ``learning_rate`` with which it learns the made-up data.

    Raises:
        AssertionError: at the first law that the model breaks, with the law and the model's name.
        ConfigError: on a setting that is unknown or out of range.
        ValueError: for an unknown model, or one that is neither general nor sequential.
    """
    for check in model_checks(model, folder, **settings):
        check()


def _always(subject):
    return True


def _cropped(subject):
    return subject.sequential and traits.of(subject.model_class).croppable


def _next_item(subject):
    return issubclass(subject.model_class, NextItemDiffusion)


def _recommends(subject):
    return can_recommend(subject.model_class)


# law -> for which models
LAWS = [
    (laws.loss_and_gradients_are_finite, _always),
    (laws.scores_have_one_row_per_history_and_one_column_per_item, _always),
    (laws.predict_gives_the_score_of_the_ranking, _always),
    (laws.the_seed_decides_scores, _always),
    (laws.scores_of_a_row_do_not_depend_on_the_others, _always),
    (laws.cropping_changes_neither_loss_nor_scores, _cropped),
    (laws.batches_change_no_scores, _always),
    (laws.the_walk_asks_forward_as_often_as_it_says, _next_item),
    (laws.ablate_x_t_hides_x_t, _next_item),
    (laws.what_is_drawn_at_construction_is_stored, _always),
    (laws.training_repeats, _always),
    (laws.a_checkpoint_scores_as_the_model, _always),
    (laws.lists_out_of_a_checkpoint_are_those_of_the_evaluation, _recommends),
    (laws.a_resumed_training_ends_as_one_left_alone, _always),
    (laws.it_learns_what_can_be_learnt, _always),
    (laws.it_does_not_learn_what_is_random, _always),
]

"""The contract of a model: ours keep it, and each law is broken by a fault planted against it."""

import logging
import os
import random

import pytest
import torch
from marks import slow_but
from recbole.model.context_aware_recommender import LR

from recbole_diffusion.config.names import MODELS
from recbole_diffusion.model.general_recommender.diffrec import DiffRec
from recbole_diffusion.model.sequential_recommender.diffurec import DiffuRec
from recbole_diffusion.testing import check_model, model_checks
from recbole_diffusion.testing.contract import LAWS

# Settings with which a model learns the made-up data in a second.
ROWS = {"dims_dnn": [32]}
LATENTS = ROWS | {"in_dims": [32], "n_cate": 2, "cluster_epochs": 1, "noise_schedule": "linear-var"}
LATENTS |= {"noise_scale": 1, "noise_min": 0.01, "noise_max": 0.1, "beta_fixed": False}
LATENTS |= {"vae_anneal_cap": 0.01, "epochs": 40}
SETTINGS = {
    "ICDDT": {"hidden_size": 16, "n_layers": 1, "diffusion_steps": 4, "truncation": 1.0}
    | {"epochs": 12},
    "MarkovChain": {},
    "DreamRec": {"hidden_size": 16, "diffusion_steps": 20, "noise_schedule": "cosine"}
    | {"dropout_prob": 0.1, "epochs": 30, "learning_rate": 0.02},
    "DimeRec": {"hidden_size": 16, "diffusion_steps": 4, "sampling_steps": 2, "n_negatives": 20}
    | {"dropout_prob": 0.1, "guidance": "last", "epochs": 30},
    "DiffuRec": {"hidden_size": 16, "n_layers": 1, "n_heads": 1, "diffusion_steps": 4}
    | {"epochs": 12},
    "SASRec": {"hidden_size": 16, "inner_size": 8, "n_layers": 1, "n_heads": 1},
    "GRU4Rec": {"embedding_size": 16, "hidden_size": 16},
    "DiffRec": ROWS,
    "TDiffRec": ROWS,
    "LDiffRec": LATENTS,
    "LTDiffRec": LATENTS,
}


@pytest.mark.parametrize("model", slow_but(("MarkovChain", "DiffRec"), MODELS))
def test_our_models_keep_the_contract(model, tmp_path):
    check_model(model, tmp_path, **SETTINGS[model])


@pytest.mark.slow
@pytest.mark.parametrize(
    "model, settings",
    [
        ("DreamRec", SETTINGS["DreamRec"] | {"sampler": "ddim", "sampling_steps": 4, "epochs": 40}),
        ("recbole:SASRec", SETTINGS["SASRec"]),
        ("SASRec", SETTINGS["SASRec"] | {"all_positions": False}),
        ("GRU4Rec", SETTINGS["GRU4Rec"] | {"all_positions": False}),
        ("MultiVAE", {"latent_dimension": 4, "mlp_hidden_size": [8]}),
        ("EASE", {}),
    ],
)
def test_other_walks_and_models_of_recbole_keep_it_too(model, settings):
    check_model(model, **settings)


# ---------------------------------------------------------------- planted faults
class LossIsNotFinite(DiffuRec):
    def calculate_loss(self, interaction):
        return super().calculate_loss(interaction) * torch.inf


class LossOfEveryRow(DiffuRec):
    def calculate_loss(self, interaction):
        return super().calculate_loss(interaction) * torch.ones(2)


class LossReachesNothing(DiffuRec):
    def calculate_loss(self, interaction):
        return super().calculate_loss(interaction).detach()


class NoScoreOfThePadding(DiffuRec):
    def full_sort_predict(self, interaction):
        return super().full_sort_predict(interaction)[:, 1:]


class ScoreIsNotFinite(DiffuRec):
    def full_sort_predict(self, interaction):
        return super().full_sort_predict(interaction).log()


class PredictsOtherwise(DiffuRec):
    def predict(self, interaction):
        return 2 * super().predict(interaction)


class DrawsWithoutSeed(DiffuRec):
    def full_sort_predict(self, interaction):
        return super().full_sort_predict(interaction) + random.SystemRandom().random()


class CountsWhatItScores(DiffuRec):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.register_buffer("scored", torch.zeros(()))

    def full_sort_predict(self, interaction):
        self.scored += len(interaction)
        return super().full_sort_predict(interaction)


class SeesOtherRows(DiffuRec):
    def full_sort_predict(self, interaction):
        scores = super().full_sort_predict(interaction)
        return scores - scores.mean(dim=0)


class DrawsByBatch(DiffuRec):
    def full_sort_predict(self, interaction):
        scores = super().full_sort_predict(interaction)
        return scores + torch.randn_like(scores)


class SeesPadding(DiffuRec):
    def guidance(self, interaction):
        history = super().guidance(interaction)
        return history._replace(last=torch.full_like(history.last, history.e.shape[1] - 1))


class SeesPaddingInTraining(DiffuRec):
    def calculate_loss(self, interaction):
        return super().calculate_loss(interaction) + interaction[self.ITEM_SEQ].shape[1]


class AsksTwiceALevel(DiffuRec):
    def denoise(self, x_t, t, guidance):
        super().denoise(x_t, t, guidance)
        return super().denoise(x_t, t, guidance)


class SaysTooFew(DiffuRec):
    denoiser_calls = 1


class ShowsTheTarget(DiffuRec):
    def denoise(self, x_t, t, guidance):
        return self.forward(x_t, t, guidance)


class ForgetsWhatItDrew(DiffuRec):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.popularity = torch.randn(self.n_items)

    def full_sort_predict(self, interaction):
        return super().full_sort_predict(interaction) + self.popularity


class TrainsWithoutSeed(DiffuRec):
    def calculate_loss(self, interaction):
        return super().calculate_loss(interaction) * random.SystemRandom().random()


class LearnsOutsideTheWeights(DiffuRec):
    """What it learns stands in a plain tensor."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.popularity = torch.zeros(self.n_items)

    def calculate_loss(self, interaction):
        self.popularity += torch.bincount(interaction[self.ITEM_ID], minlength=self.n_items)
        return super().calculate_loss(interaction)

    def full_sort_predict(self, interaction):
        return super().full_sort_predict(interaction) + self.popularity


class CountsItsData(DiffuRec):
    """It ranks by how often items occur in the data that it is built with."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        count = torch.bincount(dataset.inter_feat[self.ITEM_ID], minlength=self.n_items)
        self.register_buffer("popularity", count.float(), persistent=False)

    def full_sort_predict(self, interaction):
        return super().full_sort_predict(interaction) + self.popularity


class KnowsItsUsers(DiffuRec):
    """It ranks by the number of the user, though it says that it reads sequences."""

    def full_sort_predict(self, interaction):
        scores = super().full_sort_predict(interaction)
        first = interaction[self.USER_ID][:, None] % (self.n_items - 1) + 1
        return scores.scatter(1, first, 1e6)


class CountsOutsideTheWeights(DiffuRec):
    """Its loss depends on how many batches there were, which is counted in a list."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.batches = []

    def calculate_loss(self, interaction):
        self.batches.append(len(interaction))
        return super().calculate_loss(interaction) / len(self.batches)


class LooksAway(DiffuRec):
    """It does not see the history."""

    def guidance(self, interaction):
        history = super().guidance(interaction)
        return history._replace(e=torch.zeros_like(history.e))


class Peeks(DiffuRec):
    """It ranks the item that it is asked for first."""

    def full_sort_predict(self, interaction):
        scores = super().full_sort_predict(interaction)
        return scores.scatter(1, interaction[self.ITEM_ID][:, None], 1e6)


class KnowsAnyway(DiffuRec):
    """It is told what follows what."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        tokens = dataset.field2id_token[self.ITEM_ID][1:]
        number = dataset.field2token_id[self.ITEM_ID]
        following = [number[f"i{(int(token[1:]) + 1) % len(tokens)}"] for token in tokens]
        self.follower = torch.tensor([0, *following])

    def full_sort_predict(self, interaction):
        last = interaction[self.ITEM_SEQ_LEN][:, None] - 1
        follower = self.follower[interaction[self.ITEM_SEQ].gather(1, last)]  # [B, 1]
        return super().full_sort_predict(interaction).scatter(1, follower, 1e6)


class RowsLookAway(DiffRec):
    """It ranks by popularity."""

    def full_sort_predict(self, interaction):
        scores = super().full_sort_predict(interaction)
        return scores.mean(dim=0).repeat(len(scores), 1)


# law -> models that break it and nothing before it, each with words of the message
FAULTS = {
    "loss_and_gradients_are_finite": [
        (LossIsNotFinite, "the loss is finite: inf"),
        (LossOfEveryRow, r"calculate_loss gives one number: shape \[2\]"),
        (LossReachesNothing, "the gradient of the loss reaches the weights"),
    ],
    "scores_have_one_row_per_history_and_one_column_per_item": [
        (NoScoreOfThePadding, r"full_sort_predict gives 60 x 13 scores.*shape \[60, 12\]"),
        (ScoreIsNotFinite, "scores are finite"),
    ],
    "predict_gives_the_score_of_the_ranking": [
        (PredictsOtherwise, "predict gives the scores that full_sort_predict gives"),
    ],
    "the_seed_decides_scores": [
        (DrawsWithoutSeed, "scores under one seed are equal"),
        (CountsWhatItScores, r"scoring changes nothing that is stored: \['.scored'\]"),
    ],
    "scores_of_a_row_do_not_depend_on_the_others": [
        (SeesOtherRows, "the scores of a row do not depend on the other rows"),
    ],
    "cropping_changes_neither_loss_nor_scores": [
        (SeesPadding, "padding changes neither loss nor scores: scores .* apart"),
        (SeesPaddingInTraining, "padding changes neither loss nor scores: losses"),
    ],
    "batches_change_no_scores": [
        (DrawsByBatch, "the same in batches of 512, 7 and 1, so noise .*normal_like: .* apart"),
    ],
    "the_walk_asks_forward_as_often_as_it_says": [
        (AsksTwiceALevel, "a scored row passes forward denoiser_calls = 4 times: it does 8 times"),
        (SaysTooFew, "a scored row passes forward denoiser_calls = 1 times: it does 4 times"),
    ],
    "ablate_x_t_hides_x_t": [(ShowsTheTarget, "the network is shown 0 in place of x_t")],
    "what_is_drawn_at_construction_is_stored": [
        (ForgetsWhatItDrew, "what is drawn at construction is in state_dict"),
    ],
    "training_repeats": [
        (TrainsWithoutSeed, "two trainings under one seed are equal: .state_dict")
    ],
    "a_checkpoint_scores_as_the_model": [
        (LearnsOutsideTheWeights, "loaded from its checkpoint scores as the one that was saved"),
    ],
    "lists_out_of_a_checkpoint_are_those_of_the_evaluation": [
        (CountsItsData, "so what scores are made of is in state_dict.*: 60 of 60 users have other"),
        (KnowsItsUsers, "somebody new with a user's history has the user's list,.* of 60 copies"),
    ],
    "a_resumed_training_ends_as_one_left_alone": [
        (
            CountsOutsideTheWeights,
            "a training that is resumed ends as one left alone, .*: .state_dict",
        ),
    ],
    "it_learns_what_can_be_learnt": [
        (LooksAway, "it learns a chain of items: hit@1 is .* check_model settings"),
        (RowsLookAway, "it learns a checkerboard: hit@1 is"),
        (KnowsAnyway, "it has to be trained to know a chain of items"),
    ],
    "it_does_not_learn_what_is_random": [
        (Peeks, "on random items it stays at chance, .*: hit@1 is 1.00"),
    ],
}


def checks_of(model, **settings):
    own = SETTINGS["DiffRec" if issubclass(model, DiffRec) else "DiffuRec"]
    return {str(check): check for check in model_checks(model, **own, **settings)}


@pytest.mark.parametrize(
    "law, model, message",
    [(law, *fault) for law, faults in FAULTS.items() for fault in faults],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_planted_fault_is_found(law, model, message):
    with pytest.raises(AssertionError, match=f"^{model.__name__}: .*{message}"):
        checks_of(model)[law]()


def test_every_law_has_a_planted_fault():
    assert set(FAULTS) == {law.__name__ for law, _ in LAWS}


# ---------------------------------------------------------------- what the checks leave behind
def test_checks_leave_folder_random_numbers_and_logging_as_they_were(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger()
    before = os.getcwd(), torch.get_rng_state(), list(logger.handlers), logger.level
    for law in ("the_seed_decides_scores", "a_checkpoint_scores_as_the_model"):
        checks_of(DiffRec)[law]()
    after = os.getcwd(), torch.get_rng_state(), list(logger.handlers), logger.level
    assert before[0] == after[0] and torch.equal(before[1], after[1]) and before[2:] == after[2:]
    assert not list(tmp_path.iterdir())


def test_only_laws_that_a_model_promises_to_keep_are_checked():
    general, sequential = checks_of(DiffRec), checks_of(DiffuRec)
    other = {"cropping_changes_neither_loss_nor_scores", "ablate_x_t_hides_x_t"}
    assert set(sequential) - set(general) == other | {"the_walk_asks_forward_as_often_as_it_says"}
    careful = type("Careful", (DiffuRec,), {"croppable": False})
    assert set(sequential) - set(checks_of(careful)) == {"cropping_changes_neither_loss_nor_scores"}


def test_behaviours_are_there_for_the_models_that_read_them():
    assert model_checks("ICDDT")[0].subject.settings["BEHAVIOR_FIELD"] == "behavior"
    assert "BEHAVIOR_FIELD" not in model_checks("DiffuRec")[0].subject.settings


def test_what_is_no_ranking_model_is_refused():
    with pytest.raises(ValueError, match="LR is a context model; the checks have data for"):
        check_model(LR)
    with pytest.raises(ValueError, match="unknown setting 'n_layer'.*'n_layers'"):
        check_model("DiffuRec", n_layer=1)

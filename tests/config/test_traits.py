"""What a model says of itself: types and words are checked, and nothing is asked elsewhere."""

import ast
from pathlib import Path

import pytest
from recbole.model.sequential_recommender import SASRec
from torch import nn

import recbole_diffusion
from recbole_diffusion.config import traits
from recbole_diffusion.config.names import MODELS, get_model

PACKAGE = Path(recbole_diffusion.__file__).parent
MODEL = {"model", "model_class", "cls", "network"}  # what a model or its class is called


def own(**attributes):
    return type("Own", (SASRec,), {"__module__": "my_module"} | attributes)


def test_every_trait_has_a_default_of_its_type_and_a_sentence():
    design = (PACKAGE.parent / "docs" / "design.md").read_text(encoding="utf-8")
    for name, default in traits.Traits()._asdict().items():
        kind = traits.Traits.__annotations__[name]
        assert default is None or type(default) is kind
        assert f"        {name} ({kind.__name__}): " in traits.Traits.__doc__
        assert f"\n- `{name}`: " in design


def test_a_class_that_says_nothing_has_the_defaults_and_one_that_does_has_its_own():
    assert traits.of(own()) == traits.Traits()
    assert traits.of(own(generates=True, shorter_walk="levels")) == traits.Traits(
        generates=True, shorter_walk="levels"
    )


@pytest.mark.parametrize(
    "attributes, message",
    [
        ({"causal": 1}, "Own.causal is 1, not of type bool"),
        ({"trainer": SASRec}, "Own.trainer is .*, not of type str"),
        ({"shorter_walk": "ddim"}, "shorter_walk is 'ddim', not one of levels, sampler"),
    ],
    ids=str,
)
def test_a_trait_of_a_wrong_type_or_word_is_refused(attributes, message):
    with pytest.raises(ValueError, match=message):
        traits.of(own(**attributes))


@pytest.mark.parametrize(
    "name, generates, weighs_guidance, shorter_walk",
    [
        ("ICDDT", True, False, "levels"),
        ("DreamRec", True, True, "sampler"),
        ("DimeRec", True, False, "levels"),
        ("DiffuRec", True, False, "levels"),
        ("DiffRec", False, False, "levels"),
        ("recbole:SASRec", False, False, None),
    ],
)
def test_what_can_be_drawn_of_a_model(name, generates, weighs_guidance, shorter_walk):
    says = traits.of(get_model(name))
    found = says.generates, says.weighs_guidance, says.shorter_walk
    assert found == (generates, weighs_guidance, shorter_walk)


@pytest.mark.parametrize("name", MODELS)
def test_what_begins_with_a_corrupted_history(name):
    corrupts = name in ("DiffRec", "TDiffRec", "LDiffRec", "LTDiffRec")
    assert traits.of(get_model(name)).corrupts_history == corrupts


def test_the_shipped_models_are_resolved_with_their_traits():
    for name in MODELS:
        traits.of(get_model(name))


# ---------------------------------------------------------------- nowhere else
def probes(code):
    """Calls that ask a model or its class for what it may not have."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        asks = node.func.id == "hasattr" or (node.func.id == "getattr" and len(node.args) == 3)
        if asks and MODEL & {
            getattr(part, "attr", getattr(part, "id", None)) for part in ast.walk(node.args[0])
        }:
            found.append(ast.unparse(node))
    return found


def test_no_other_module_asks_a_model_for_what_it_may_not_have():
    for file in PACKAGE.rglob("*.py"):
        if file.name != "traits.py":
            found = probes(file.read_text(encoding="utf-8"))
            assert not found, f"{file.name}: {found}: a trait of config/traits.py"
    code = """
hasattr(trainer.model, "walk")
getattr(type(self.model), "causal", False)
getattr(model_class, "type", None)
getattr(model, name)
getattr(dataset, "in_order", False)
"""
    assert probes(code) == [  # the control
        "hasattr(trainer.model, 'walk')",
        "getattr(type(self.model), 'causal', False)",
        "getattr(model_class, 'type', None)",
    ]
    reader = (PACKAGE / "config" / "traits.py").read_text(encoding="utf-8")
    assert probes(reader)


def test_the_table_of_item_embeddings_is_found_under_its_name():
    model = nn.Module()
    assert traits.item_embedding(model) is None
    model.item_embedding = nn.Embedding(3, 2)
    assert traits.item_embedding(model) is model.item_embedding

"""What is a request for lists, and what is the answer? Checked and documented by pydantic."""

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_PEOPLE = 1000  # of a request
MOST_ITEMS = 10_000  # of a history, and of a list of candidates
MOST_RANKED = 100_000  # items of all lists of an answer

Id = Annotated[str, Field(max_length=1000)]


class Person(BaseModel):
    """Somebody and what they had, oldest first."""

    model_config = ConfigDict(extra="forbid")

    user: Id = Field(description="comes back in the answer; a known user where the model needs one")
    items: list[Id] = Field(default=[], max_length=MOST_ITEMS, description="oldest first")
    behaviors: list[Id] | None = Field(
        default=None, max_length=MOST_ITEMS, description="one an item, for models that read them"
    )

    @model_validator(mode="after")
    def _one_behavior_an_item(self):
        if self.behaviors is not None and len(self.behaviors) != len(self.items):
            raise ValueError(f"{len(self.behaviors)} behaviors for {len(self.items)} items")
        return self


class Wanted(BaseModel):
    """A request for lists."""

    model_config = ConfigDict(extra="forbid")

    people: list[Person] = Field(min_length=1, max_length=MOST_PEOPLE)
    k: int = Field(default=20, ge=1, le=1000, strict=True, description="items a list")
    exclude_seen: bool | None = Field(default=None, strict=True)
    candidates: list[Id] | None = Field(default=None, max_length=MOST_ITEMS)
    deny: list[Id] | None = Field(default=None, max_length=MOST_ITEMS)
    target_behavior: Id | None = None
    cold: Literal["pop", "skip"] = "skip"

    @model_validator(mode="after")
    def _every_user_once(self):
        if len({person.user for person in self.people}) < len(self.people):
            raise ValueError("people names a user twice")
        if self.k * len(self.people) > MOST_RANKED:
            raise ValueError(
                f"{len(self.people)} people with k {self.k} are more than {MOST_RANKED} items"
            )
        return self

    def options(self):
        """What must be equal for requests to be scored together, as text."""
        return self.model_dump_json(exclude={"people"})


class Ranked(BaseModel):
    """An item of a list."""

    item: str
    score: float


class List(BaseModel):
    """The list of somebody, the best item first."""

    user: str
    items: list[Ranked]


class Answer(BaseModel):
    """Lists in the order of the request; those without a list are left out."""

    lists: list[List]
    unknown_items: int = Field(description="items of the histories that the model does not know")
    unknown_candidates: int = Field(default=0, description="of candidates, likewise")
    unknown_deny: int = Field(default=0, description="of deny, likewise")


def words_of(invalid):
    """What is wrong with a request, without what it holds.

    Args:
        invalid (pydantic.ValidationError): the first error is said.

    Returns:
        str: where and what, like ``people.0.items: Field required``.
    """
    first = invalid.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) if len(str(part)) < 40 else "..." for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]


def schema_of(model):
    """The JSON schema of a request, whole, as OpenAPI wants it in one place."""
    schema = model.model_json_schema(ref_template="#/$defs/{model}")
    definitions = schema.pop("$defs", {})
    text = json.dumps(schema)
    for name, value in definitions.items():
        text = text.replace(json.dumps({"$ref": f"#/$defs/{name}"}), json.dumps(value))
    return json.loads(text)

"""The pydantic base of everything that comes in from outside."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """No unknown field, no coercion ("5" is not 5), and no change after it was parsed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

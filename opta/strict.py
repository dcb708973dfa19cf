"""The pydantic base of everything that comes in from outside."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """No unknown field, no coercion ("5" is not 5), and no change after it was parsed."""

    # str_min_length=0 makes pydantic look into a text: half a surrogate pair, which JSON can hold and
    # UTF-8 cannot, is refused by its field's name.
    # NaN and Infinity, which are not JSON and Python reads as if they were, as well.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, str_min_length=0, allow_inf_nan=False)

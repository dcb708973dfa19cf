"""Fields that clients are known to send and that cannot change an answer: accepted, and none beside them."""

from typing import Any

from pydantic import ConfigDict, model_validator

from opta.strict import Strict

# Each with why LMX has nothing to do about it. A request that means one of them declares it itself.
ACCEPTED = {
    "user": "Who asks, in the client's own words.",
    "safety_identifier": "Who asks, hashed by the client.",
    "metadata": "The client's own notes.",
    "client_metadata": "The client's own notes.",
    "store": "Whether OpenAI keeps the answer; LMX keeps no chat.",
    "service_tier": "Which of OpenAI's machines computes it.",
    "prompt_cache_key": "Which of OpenAI's machines holds the prompt; LMX finds every kept prefix by itself.",
    "prompt_cache_retention": "How long OpenAI keeps the prompt.",
    "prediction": "A guess at the answer, with which OpenAI computes the same answer faster.",
    "cache_prompt": "llama.cpp's switch for the prefix cache, which LMX always uses.",
}


def document(schema: dict[str, Any], kind: type[Any]) -> None:
    """Show what is accepted beside what is honoured."""
    for name, why in ACCEPTED.items():
        schema["properties"].setdefault(name, {"description": f"Accepted without effect. {why}"})


class Accepting(Strict):
    """A request to OpenAI's API: what is ACCEPTED is dropped, and any other unknown field refused by name."""

    model_config = ConfigDict(json_schema_extra=document)

    @model_validator(mode="before")
    @classmethod
    def drop_accepted(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {k: v for k, v in value.items() if k in cls.model_fields or k not in ACCEPTED}

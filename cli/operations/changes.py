"""What a change of the settings may be: a merge patch (RFC 7396) with the schema of the settings."""

from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

from cli.config import Config
from opta.strict import Strict


def patch_model(model: type[BaseModel], name: str) -> type[BaseModel]:
    """What a merge patch of a model may be: each of its fields as it is, in part, left out, or null."""
    fields: dict[str, Any] = {key: (partial(field) | None, None) for key, field in model.model_fields.items()}
    return create_model(name, __base__=Strict, __doc__=model.__doc__, **fields)


def partial(field: FieldInfo) -> Any:
    """A table may be given in part; of a table of tables each; a plain value as a whole."""
    kind = field.annotation
    if get_origin(kind) is dict:
        key, value = get_args(kind)
        return dict[key, part(value) | None]  # type: ignore[misc,valid-type]  # types known at run time
    kind = part(kind)
    return Annotated[(kind, *field.metadata)] if field.metadata else kind


def part(kind: Any) -> Any:
    whole = isinstance(kind, type) and issubclass(kind, BaseModel)
    return patch_model(kind, f"{kind.__name__}Change") if whole else kind


class Change(patch_model(Config, "ConfigChange")):  # type: ignore[misc]  # its fields are those of Config
    """Settings as they are to be; null takes one back to its default."""

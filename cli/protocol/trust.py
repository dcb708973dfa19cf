"""Which folders the user trusts, on the wire."""

from typing import Annotated

from pydantic import BaseModel, Field

from opta.strict import Strict


class TrustDecide(Strict):
    """Whether what `folder`, and all below it, brings may take effect."""

    folder: Annotated[str, Field(max_length=4096, pattern=r"^/[^\x00]*$")]
    trusted: bool


class TrustView(BaseModel):
    """What was said of a folder, without symbolic links, and when (ISO 8601, UTC)."""

    folder: str
    trusted: bool
    decided: str


class TrustList(BaseModel):
    """By folder; the nearest one above a file holds."""

    decisions: list[TrustView]

"""Which folders the user trusts."""

import asyncio
import os
from pathlib import Path

from django.http import HttpRequest
from ninja import Router

from cli import trust
from cli.protocol.trust import TrustDecide, TrustList, TrustView
from opta.errors import Refusal

router = Router()


@router.get("trust", response=TrustList)
async def list_decisions(request: HttpRequest) -> TrustList:
    found = await asyncio.to_thread(trust.decisions)
    return TrustList(decisions=[TrustView.model_validate(each, from_attributes=True) for each in found])


@router.post("trust", response=TrustView)
async def decide(request: HttpRequest, body: TrustDecide) -> TrustView:
    """Trust a folder and all below it, or trust it no longer; it holds for what is read from now on."""
    return await asyncio.to_thread(decided, body)


def decided(body: TrustDecide) -> TrustView:
    """Raises Refusal."""
    folder = Path(body.folder)
    if body.trusted and not os.path.isdir(folder):  # which takes a name that is too long for none
        raise Refusal(f"folder: {folder} is not a folder on this machine.", field="folder")
    try:
        here = trust.grant(folder) if body.trusted else trust.refuse(folder)
    except trust.TooWide as error:
        raise Refusal(f"{error} Trust a project's own folder.", field="folder") from error
    except OSError as error:
        raise Refusal(f"folder: {folder}: {error.strerror}.", field="folder") from error
    return TrustView.model_validate(trust.read(here), from_attributes=True)

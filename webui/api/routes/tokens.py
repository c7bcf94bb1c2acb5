"""Tokens: the caller, long-lived tokens, and pairs for programs that sign in with name and password."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Router, Status

from webui.accounts import services
from webui.accounts.addresses import client_address
from webui.accounts.models import ApiToken
from webui.accounts.second_factor import sign_in_program
from webui.accounts.services import SCOPES
from webui.api.authentication import caller, missing_scope, needs
from webui.api.idempotency import Made, creation
from webui.api.paging import Page, Paging, page
from webui.api.schemas import MeOut, PairIn, PairOut, RefreshIn, TokenIn, TokenMadeOut, TokenOut

router = Router(tags=["Tokens"])


@router.get("/me", response=MeOut, summary="The current user", **needs())
def me(request: HttpRequest) -> MeOut:
    """Return the token's user and scopes."""
    allowed = caller(request)
    scopes = [scope for scope in SCOPES if scope in allowed.scopes]
    return MeOut(user=allowed.user.get_username(), is_owner=allowed.user.is_owner, scopes=scopes)


@router.get("/tokens", response=Page[TokenOut], summary="All tokens", **needs("read"))
def tokens(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    """List your tokens, including revoked ones, newest first."""
    return page(request, ApiToken.objects.filter(user=caller(request).user), paging)


@router.post("/tokens", response={201: TokenMadeOut}, summary="Create a token", **needs(person=True))
@creation()
def add(request: HttpRequest, payload: TokenIn) -> Made:
    """Create a token. Its text is shown once, and its scopes must be among the caller's.

    The caller must have signed in, or use an API token with the scope admin.
    """
    allowed = caller(request)
    beyond = set(payload.scopes) - allowed.scopes
    if beyond:
        raise missing_scope(*beyond)
    token, text = services.create_token(user=allowed.user, name=payload.name, scopes=payload.scopes, days=payload.days)
    return Made(TokenMadeOut(**TokenOut.from_orm(token).model_dump(), token=text), f"/api/v1/tokens/{token.pk}")


@router.get("/tokens/{int:token_id}", response=TokenOut, summary="A token", **needs("read"))
def token(request: HttpRequest, token_id: int) -> ApiToken:
    """Return the token's scopes and last use."""
    return get_object_or_404(ApiToken, id=token_id, user=caller(request).user)


@router.delete("/tokens/{int:token_id}", response={204: None}, summary="Revoke a token", **needs(person=True))
def revoke(request: HttpRequest, token_id: int) -> Status:
    """Revoke the token immediately."""
    services.revoke_token(token=get_object_or_404(ApiToken, id=token_id, user=caller(request).user))
    return Status(204, None)


@router.post("/pairs", response={201: PairOut}, summary="Sign in with name and password", auth=None)
def sign_in_for_pair(request: HttpRequest, payload: PairIn) -> Status:
    """Issue a pair of tokens for a program that a person uses. Wrong passwords count as on the sign-in page."""
    user = sign_in_program(name=payload.name, password=payload.password, address=client_address(request))
    return Status(201, services.issue_pair(user=user, scopes=payload.scopes))


@router.post("/pairs/refresh", response={201: PairOut}, summary="Refresh a pair of tokens", auth=None)
def refresh(request: HttpRequest, payload: RefreshIn) -> Status:
    """Exchange the refresh token for a new pair. If it is used twice, all tokens of the same sign-in are revoked."""
    return Status(201, services.rotate_pair(refresh=payload.refresh))


@router.post("/pairs/end", response={204: None}, summary="Sign out", auth=None)
def end(request: HttpRequest, payload: RefreshIn) -> Status:
    """Revoke the pair and all tokens of the same sign-in."""
    services.end_pair(refresh=payload.refresh)
    return Status(204, None)

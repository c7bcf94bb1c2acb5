"""Webhooks: notification of the end of jobs."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Router, Status

from webui.api.authentication import caller, needs
from webui.api.idempotency import Made, creation
from webui.api.paging import Page, Paging, page
from webui.api.schemas import DeliveryOut, WebhookIn, WebhookMadeOut, WebhookOut
from webui.webhooks import services as webhooks
from webui.webhooks.models import Delivery, Webhook

router = Router(tags=["Webhooks"])


def _own(request: HttpRequest, webhook_id: int) -> Webhook:
    return get_object_or_404(Webhook, id=webhook_id, user=caller(request).user)


@router.get("/webhooks", response=Page[WebhookOut], summary="All webhooks", **needs("read"))
def all_webhooks(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    """List webhooks, newest first."""
    return page(request, Webhook.objects.filter(user=caller(request).user), paging)


@router.post("/webhooks", response={201: WebhookMadeOut}, summary="Add a webhook", **needs("train"))
@creation()
def add(request: HttpRequest, payload: WebhookIn) -> Made:
    """Add a webhook. Its secret is shown once. Each message is a POST with ``Hark-Signature: t=...,v1=...``.

    The header has the time, and the HMAC-SHA256 with the secret over the time, a full stop and the body.
    """
    hook, secret = webhooks.add(user=caller(request).user, url=payload.url, events=payload.events)
    return Made(WebhookMadeOut(**WebhookOut.from_orm(hook).model_dump(), secret=secret), f"/api/v1/webhooks/{hook.pk}")


@router.get("/webhooks/{int:webhook_id}", response=WebhookOut, summary="A webhook", **needs("read"))
def webhook(request: HttpRequest, webhook_id: int) -> Webhook:
    """Return the webhook's URL and events."""
    return _own(request, webhook_id)


@router.delete("/webhooks/{int:webhook_id}", response={204: None}, summary="Delete a webhook", **needs("train"))
def remove(request: HttpRequest, webhook_id: int) -> Status:
    """Delete the webhook with its unsent messages."""
    webhooks.remove(webhook=_own(request, webhook_id))
    return Status(204, None)


@router.post("/webhooks/{int:webhook_id}/ping", response={201: DeliveryOut}, summary="Test a webhook", **needs("train"))
@creation()
def ping(request: HttpRequest, webhook_id: int) -> Made:
    """Send a message of the event ``ping``. The deliveries show its outcome."""
    delivery = webhooks.ping(webhook=_own(request, webhook_id))
    return Made(DeliveryOut.from_orm(delivery), f"/api/v1/webhooks/{webhook_id}/deliveries")


@router.get(
    "/webhooks/{int:webhook_id}/deliveries",
    response=Page[DeliveryOut],
    summary="Deliveries of a webhook",
    **needs("read"),
)
def deliveries(request: HttpRequest, webhook_id: int, paging: Query[Paging]) -> dict[str, Any]:
    """List the last 50 messages and their state, newest first."""
    return page(request, Delivery.objects.filter(webhook=_own(request, webhook_id)), paging)

"""POST requests to users' URLs: never into this network, and only to the IP address that was checked."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

import httpx2
from django.conf import settings
from django.utils.translation import gettext as _

from core.errors import HarkError

log = logging.getLogger(__name__)

CONNECT_S, ANSWER_S = 5.0, 10.0  # maximum seconds of each step
WHOLE_S = 20.0  # seconds for one address of a name, so that a server which sends single bytes is cut off
MAX_ADDRESSES = 2  # number of addresses of a name that are tried
MAX_DURATION_S = 30.0 + MAX_ADDRESSES * WHOLE_S  # in total, with the look-up of the name
MAX_URL_LENGTH = 500
NAT64 = ipaddress.ip_network("64:ff9b::/96")


class AddressRefused(HarkError):
    """Raised for a URL to which Hark must not send requests."""


class NotSent(Exception):
    """Raised if the receiver cannot be reached or does not respond. The message states the reason."""


def check_url(url: str) -> SplitResult:
    """Return the parts of a webhook's URL. Its name is looked up only when a message is sent.

    Raises AddressRefused if it is malformed, has a different scheme or a password, or is clearly in this network.
    """
    if not 1 <= len(url) <= MAX_URL_LENGTH or not url.isascii() or not url.isprintable() or " " in url:
        raise _refused(_("It must have 1 to %(most)d ASCII characters without spaces.") % {"most": MAX_URL_LENGTH})
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _refused(_("It is not a URL such as https://example.org/hook.")) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise _refused(_("It is not a URL such as https://example.org/hook."))
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise _refused(_("It contains a name, a password or a fragment (#)."))
    if parts.hostname == "localhost" or parts.hostname.endswith(".localhost"):
        _refuse_private(parts.hostname, "127.0.0.1")
    try:
        # Recognizes addresses that resemble names, too: 127.1, 0x7f000001.
        entries = socket.getaddrinfo(parts.hostname, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return parts
    for entry in entries:
        _refuse_private(parts.hostname, str(entry[4][0]))
    return parts


def is_public(address: str) -> bool:
    """Return whether an IP address, and the IPv4 address inside an IPv6 one, is on the public internet."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inside = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inside is None and (ip in NAT64 or int(ip) >> 32 == 0):
            inside = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inside is not None:
            ip = inside
        elif ip.is_site_local:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not ip.is_unspecified


def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Send ``body``; return the status of the response. Redirects and proxy variables are ignored.

    Raises AddressRefused if the address is not public, and NotSent if its name has no public address, the connection
    fails, or no HTTP response arrives in time.
    """
    parts = check_url(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    problem = ""
    for address in _look_up(host, port)[:MAX_ADDRESSES]:
        try:
            return asyncio.run(_post_to(address, url, body, headers))
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.InvalidURL, ValueError) as error:
            problem = _reason_of(error)
        except httpx2.HTTPError as error:
            raise NotSent(_("No answer: %(why)s") % {"why": _reason_of(error)}) from error
        except TimeoutError as error:
            why = f"TimeoutError: no complete answer within {WHOLE_S:.0f} s"
            raise NotSent(_("No answer: %(why)s") % {"why": why}) from error
    raise NotSent(_("No connection: %(why)s") % {"why": problem})


async def _post_to(address: str, url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Send ``body`` to one checked address, with the host's name and certificate, without another look-up."""
    to = httpx2.URL(url)
    async with (
        asyncio.timeout(WHOLE_S),
        httpx2.AsyncClient(
            verify=ssl.create_default_context(), trust_env=False, timeout=httpx2.Timeout(ANSWER_S, connect=CONNECT_S)
        ) as client,
        client.stream(
            "POST", to.copy_with(host=address), content=body, headers={"Host": to.netloc.decode(), **headers},
            extensions={"sni_hostname": to.raw_host.decode()},
        ) as response,
    ):  # fmt: skip
        return response.status_code  # without reading the body


def _look_up(host: str, port: int) -> list[str]:
    """Return the checked addresses of a name, so that they need not be looked up again.

    The error reveals nothing about names inside this network, not even whether they exist. The log has the details.
    """
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
        for address in addresses:
            _refuse_private(host, address)
    except (OSError, UnicodeError, AddressRefused) as error:
        log.warning("nothing is sent to %s: %s", host, error)
        raise NotSent(_("The name %(host)s does not resolve to a public address.") % {"host": host}) from error
    return addresses


def _refuse_private(host: str, address: str) -> None:
    if not settings.WEBHOOKS_PRIVATE and not is_public(address):
        raise _refused(
            _("%(host)s is not a public address.") % {"host": host},
            _("Use a public address. Only the owner can allow others."),
        )


def _refused(why: str, to_do: str = "") -> AddressRefused:
    return AddressRefused(
        _("This URL cannot be a webhook."), why, to_do or _("Use one such as https://example.org/hook.")
    )


def _reason_of(error: BaseException) -> str:
    """Return the first cause of an error; for a time-out, the time-out itself, because its cause is uninformative."""
    while not isinstance(error, httpx2.TimeoutException) and (cause := error.__cause__ or error.__context__):
        error = cause
    return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}".removesuffix(": ")[:200]

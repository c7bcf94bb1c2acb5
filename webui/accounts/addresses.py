"""The IP address of a request."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.http import HttpRequest

IPV6_NETWORK = 64  # bits; a household can use all addresses of its network


def network_of(address: str) -> str:
    """Return the network that identifies a household: the IPv6 /64, or the IPv4 address itself."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, IPV6_NETWORK), strict=False))
    return str(ip)


def _without_port(text: str) -> str:
    """Return the IP address in "192.0.2.1:1001", "[2001:db8::1]:99" or without a port; "" if there is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def client_address(request: HttpRequest) -> str:
    """Return a request's IP address: if HARK_HTTPS declares a proxy, the one that it reports, otherwise the peer's."""
    if settings.SECURE_PROXY_SSL_HEADER:
        forwarded = _without_port(request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip())
        if forwarded:
            return forwarded
    return str(request.META.get("REMOTE_ADDR", ""))

"""Proxies that the environment names, and that are not used: through a proxy the address that a
connection leads to could not be checked.
"""

from __future__ import annotations

from urllib.request import getproxies, proxy_bypass

from .urls import parse_url


def unused_proxy(url: str) -> str:
    """The proxy that clients which take ``http_proxy``, ``https_proxy``, ``all_proxy`` and
    ``no_proxy`` from the environment would ask for ``url``; empty where it is none.
    """
    parts = parse_url(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    if proxy and proxy_bypass(f"{parts.host.strip('[]')}:{parts.port}"):
        return ""
    return proxy

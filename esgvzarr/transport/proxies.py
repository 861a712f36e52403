"""Find proxies that the environment names. They are not used: through a proxy, the address of a
connection cannot be checked.
"""

from __future__ import annotations

from .urls import parse_url


def unused_proxy(url: str) -> str:
    """Return the proxy that other clients would use for ``url``, from ``http_proxy``,
    ``https_proxy``, ``all_proxy`` and ``no_proxy``; empty if none.
    """
    from urllib.request import getproxies, proxy_bypass

    parts = parse_url(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    if proxy and proxy_bypass(f"{parts.host.strip('[]')}:{parts.port}"):
        return ""
    return proxy

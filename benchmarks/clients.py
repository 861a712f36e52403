"""``python -m benchmarks.clients``: which HTTP client fetches many small ranges fastest; 2,000
ranges of 4 KiB of one file.

The figures behind the choice of client and of the number of connections in ``esgvzarr.transport``.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

from esgvzarr.testing import Latency, NginxServer, ThreddsServer
from esgvzarr.transport import Range, Transport

COUNT = 2000
SIZE = 4096
STRIDE = 65_536
PLACES = [(number * STRIDE, number * STRIDE + SIZE) for number in range(COUNT)]


def transport(url: str, connections: int) -> int:
    """esgvzarr.transport: urllib3 and threads."""
    with Transport(allowed_hosts=[urlsplit(url).netloc], connections=connections) as opened:
        return sum(map(len, opened.read_ranges([Range(url, *place) for place in PLACES])))


def http_client(url: str, connections: int) -> int:
    """http.client and threads."""
    parts = urlsplit(url)

    def fetch(places: list[tuple[int, int]]) -> int:
        connection = http.client.HTTPConnection(parts.netloc)
        total = 0
        for start, stop in places:
            connection.request("GET", parts.path, headers={"Range": f"bytes={start}-{stop - 1}"})
            total += len(connection.getresponse().read())
        return total

    with ThreadPoolExecutor(connections) as pool:
        return sum(pool.map(fetch, [PLACES[n::connections] for n in range(connections)]))


def aiohttp(url: str, connections: int) -> int:
    """aiohttp."""
    import aiohttp as library

    async def fetch() -> int:
        async with library.ClientSession(
            connector=library.TCPConnector(limit=connections)
        ) as session:

            async def one(start: int, stop: int) -> int:
                async with session.get(
                    url, headers={"Range": f"bytes={start}-{stop - 1}"}
                ) as answer:
                    return len(await answer.read())

            return sum(await asyncio.gather(*(one(*place) for place in PLACES)))

    return asyncio.run(fetch())


def obstore(url: str, connections: int) -> int:
    """obstore (Rust object_store), as VirtualiZarr uses it; it bounds connections itself."""
    import obstore as library
    from obstore.store import HTTPStore

    del connections
    base, _, name = url.rpartition("/")
    store = HTTPStore.from_url(base, client_options={"allow_http": True})

    async def fetch() -> int:
        answers = await asyncio.gather(
            *(library.get_range_async(store, name, start=start, end=stop) for start, stop in PLACES)
        )
        return sum(map(len, answers))

    return asyncio.run(fetch())


def pycurl(url: str, connections: int) -> int:
    """pycurl's multi interface."""
    import pycurl as library

    multi = library.CurlMulti()
    waiting = list(PLACES)
    total = 0

    def give(handle: library.Curl, place: tuple[int, int]) -> None:
        body: list[bytes] = []
        handle.body = body
        handle.setopt(library.URL, url)
        handle.setopt(library.RANGE, f"{place[0]}-{place[1] - 1}")
        handle.setopt(library.WRITEFUNCTION, body.append)
        multi.add_handle(handle)

    running = min(connections, len(waiting))
    for _ in range(running):
        give(library.Curl(), waiting.pop())
    while running:
        multi.perform()
        multi.select(1.0)
        _, done, failed = multi.info_read()
        if failed:
            raise SystemExit(failed)
        for handle in done:
            total += sum(map(len, handle.body))
            multi.remove_handle(handle)
            if waiting:
                give(handle, waiting.pop())
            else:
                running -= 1
    return total


CLIENTS: tuple[Callable[[str, int], int], ...] = (transport, http_client, aiohttp, obstore, pycurl)


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clients", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", type=Path, help="Markdown file to append to")
    options = parser.parse_args()
    lines = [f"\n## HTTP clients: {COUNT} ranges of {SIZE} bytes, seconds\n"]
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with open(root / "file.nc", "wb") as file:
            file.truncate(COUNT * STRIDE)
        root.chmod(0o755)
        places = {"0 ms": stack.enter_context(NginxServer(root, prefix="")).url}
        for latency in (20, 100):
            server = stack.enter_context(ThreddsServer(root, prefix="/data"))
            server.fault(Latency(latency / 1000))
            places[f"{latency} ms"] = f"{server.url}/data"
        heads = [f"{n} at {place}" for place, n in product(places, (16, 32, 64))]
        lines += [f"| connections | {' | '.join(heads)} |", "|---" * 10 + "|"]
        for client in CLIENTS:
            cells = []
            for base in places.values():
                for connections in (16, 32, 64):
                    times = [_time(client, base, connections) for _ in range(options.rounds)]
                    cells.append(f"{statistics.median(times):.2f}")
            lines.append(f"| {client.__name__} | " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    lines.append(
        "\nFrom 20 ms on the number of requests in flight decides, not the client. At 0 ms "
        "others are faster than urllib3, which `transport` uses for its pool, TLS and upkeep; a "
        "whole run gains little by them. 32 connections are the default: a data node should not "
        "be flooded, and a large data set waits a few seconds at 100 ms (setting `connections`)."
    )
    if options.page:
        options.page.write_text(options.page.read_text() + "\n".join(lines) + "\n")


def _time(client: Callable[[str, int], int], base: str, connections: int) -> float:
    started = time.perf_counter()
    total = client(f"{base}/file.nc", connections)
    if total != COUNT * SIZE:
        raise SystemExit(f"{client.__name__} read {total} bytes")
    return time.perf_counter() - started


if __name__ == "__main__":
    main()

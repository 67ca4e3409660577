"""How many requests a second `serve` answers, how long the slowest wait, and what malformed ones come to.

Clients and server share the machine's cores. Each client has a connection of its own and asks as soon as it
is answered.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
from malformed import malformed
from serving import Server, serving

from disentangle.serve.project import name_of


def request(project: str, text: str) -> bytes:
    """One text's, on a connection that stays."""
    body = urlencode({"text": text, "limit": 10}).encode()
    head = f"POST /v1/projects/{project}/suggest HTTP/1.1\r\nHost: localhost\r\n"
    kind = "Content-Type: application/x-www-form-urlencoded\r\n"
    return f"{head}{kind}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def client(url: str, requests: list[bytes], until: float, statuses: Counter[int]) -> list[float]:
    """Seconds of each answer."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    seconds = []
    for sent in itertools.cycle(requests):
        start = time.perf_counter()
        if start > until:
            break
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(length_of(head))
        seconds.append(time.perf_counter() - start)
        statuses[int(head.split(b" ", 2)[1])] += 1
    writer.close()
    return seconds


async def load(url: str, requests: list[bytes], n_clients: int, seconds: float) -> dict[str, Any]:
    """What so many clients at a time get."""
    start, statuses = time.perf_counter(), Counter[int]()
    clients = [client(url, requests[i:] + requests[:i], start + seconds, statuses) for i in range(n_clients)]
    taken = np.concatenate([np.array(one) for one in await asyncio.gather(*clients)])
    p50, p99 = 1000 * np.quantile(taken, [0.5, 0.99])
    return {
        "clients": n_clients,
        "requests_per_second": round(len(taken) / (time.perf_counter() - start), 1),
        "p50_ms": round(float(p50), 1),
        "p99_ms": round(float(p99), 1),
        "statuses": dict(statuses),
    }


async def answer_to(url: str, sent: bytes, patience: float) -> tuple[int | None, bytes]:
    """Status and body of the answer to these bytes; None if there is none: a request may not be whole."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=2**20)
    head = body = b""
    with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.TimeoutError):
        writer.write(sent)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), patience)
        body = await reader.readexactly(length_of(head))
    writer.close()
    return (int(head.split(b" ", 2)[1]) if head else None), body


def length_of(head: bytes) -> int:
    """Bytes of the body that comes after a head."""
    lines = head.lower().split(b"\r\n")
    return next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)


async def send_malformed(
    url: str, project: str, n: int, patience: float
) -> list[tuple[bytes, int | None, bytes]]:
    """What was sent, the status and the body of its answer; many at a time."""
    at_once = asyncio.Semaphore(32)

    async def ask(sent: bytes) -> tuple[bytes, int | None, bytes]:
        async with at_once:
            return sent, *await answer_to(url, sent, patience)

    return list(await asyncio.gather(*(ask(sent) for sent in malformed(project, n))))


def resident(server: Server) -> float:
    """MiB that the server's process holds."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def cpu_seconds(server: Server) -> float:
    """What the server's process has taken so far."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print a line for each number of clients."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--bundle", type=Path, required=True)
    add("--texts", type=Path, required=True, help="texts, one a line")
    add("--clients", type=int, nargs="+", default=[1, 8, 64])
    add("--seconds", type=float, default=20.0, help="of each number of clients")
    add("--malformed", type=int, default=10_000)
    args = parser.parse_args()
    texts = args.texts.read_text(encoding="utf-8").splitlines()[:1000]
    requests = [request(name_of(args.bundle), text) for text in texts]
    with serving(args.bundle) as server:
        asyncio.run(load(server.url, requests, 1, 2))
        for n_clients in args.clients:
            before = {
                "load_before": round(os.getloadavg()[0], 2),
                "rss_before_mib": round(resident(server), 1),
            }
            cpu = cpu_seconds(server)
            found = asyncio.run(load(server.url, requests, n_clients, args.seconds))
            milliseconds = 1000 * (cpu_seconds(server) - cpu) / sum(found["statuses"].values())
            after = {
                "server_cpu_ms_per_request": round(milliseconds, 2),
                "rss_after_mib": round(resident(server), 1),
            }
            print(json.dumps(found | before | after), flush=True)
    if not args.malformed:
        return
    with serving(args.bundle, "--timeout", "2") as server:
        got = asyncio.run(send_malformed(server.url, name_of(args.bundle), args.malformed, 10.0))
        statuses = Counter(str(status) for _, status, _ in got)
        print(
            json.dumps({"malformed": dict(sorted(statuses.items())), "rss_mib": round(resident(server), 1)})
        )


if __name__ == "__main__":
    main()

"""How many requests does the service answer in a second, and how long does one wait?

    python benchmarks/serve.py --checkpoint=FILE.best.pth

The service runs on loopback in a process of its own. ``--clients`` clients at once each send a
request for one made-up history of known items, wait for the answer and send the next, over a
connection that they keep. ``alone`` is the control: the same service without the scoring of
requests together.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time

from recbole_diffusion.recommend.batches import TOGETHER
from recbole_diffusion.recommend.recommender import load

BODIES = 2000  # different requests


def requests(checkpoint, longest):
    """Requests as bytes, of random histories.

    Returns:
        list of bytes: head and body.
    """
    recommender, draw = load(checkpoint), random.Random(0)
    items = recommender.tokens[recommender.item_field][1:]
    told = recommender.behavior_column
    behaviors = recommender.tokens[told][1:] if told else None
    found = []
    for number in range(BODIES):
        person = {"user": str(number), "items": draw.choices(items, k=draw.randint(1, longest))}
        if behaviors:
            person["behaviors"] = draw.choices(behaviors, k=len(person["items"]))
        body = json.dumps({"people": [person], "k": 20}).encode()
        head = f"POST /recommend HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        found.append(head.encode() + body)
    return found


async def client(address, bodies, until, waited, draw):
    """Asks until a time; appends the seconds of each answer.

    Raises:
        RuntimeError: on an answer that is not 200.
    """
    reader, writer = await asyncio.open_connection(*address)
    while time.perf_counter() < until:
        begin = time.perf_counter()
        writer.write(draw.choice(bodies))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise RuntimeError(f"the service says {head[:30]!r} {body[:200]!r}")
        waited.append(time.perf_counter() - begin)
    writer.close()


async def load_of(address, bodies, clients, seconds):
    """Requests a second, and the seconds that the answers took, in order."""
    waited, draw = [], random.Random(clients)
    until = time.perf_counter() + seconds
    asking = (client(address, bodies, until, waited, draw) for _ in range(clients))
    await asyncio.gather(*asking)
    return len(waited) / seconds, sorted(waited)


def measure(arguments, together, bodies):
    """Prints a line for each number of clients."""
    command = [sys.executable, __file__, "--checkpoint", arguments.checkpoint]
    process = subprocess.Popen([*command, f"--serve={together}"], stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        host, _, port = line.partition("http://")[2].partition("/docs")[0].partition(":")
        address = (host, int(port))
        asyncio.run(load_of(address, bodies, 4, 2))  # warms up
        for clients in arguments.clients:
            rate, waited = asyncio.run(load_of(address, bodies, clients, arguments.seconds))
            p50, p99 = (1000 * waited[int(share * (len(waited) - 1))] for share in (0.5, 0.99))
            way = "together" if together > 1 else "alone"
            print(
                f"{way}, {clients} clients: {rate:.0f} requests/s, p50 {p50:.1f} ms, p99 "
                f"{p99:.1f} ms ({len(waited)} requests)",
                flush=True,
            )
        with open(f"/proc/{process.pid}/status") as status:
            peak = next(line for line in status if line.startswith("VmHWM"))
        print(f"{way}: peak memory {int(peak.split()[1]) / 1024:.0f} MB")
    finally:
        process.terminate()
        process.wait(30)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--seconds", type=float, default=10, help="a number of clients is measured")
    parser.add_argument("--longest", type=int, default=20, help="history")
    parser.add_argument("--serve", type=int, help="people at once: be the service")
    arguments = parser.parse_args()
    if arguments.serve:
        from recbole_diffusion.recommend.serve import serve

        serve(arguments.checkpoint, port=0, together=arguments.serve)
        return
    bodies = requests(arguments.checkpoint, arguments.longest)
    for together in (TOGETHER, 1):
        measure(arguments, together, bodies)


if __name__ == "__main__":
    main()

"""websockets, by its iterator of connections. See ../src/work.rs for what it is told and what it reports.

Best settings: a ping after 10 s, 10 s for the answer, and 1 s for the end; statuses that pass are retried, too, and the
waits between dials that fail grow from 1 to 20 s instead of 90. There is no setting for the wait after a connection that
was up, and none that asks for a credential anew.
"""

import argparse
import asyncio
import json
import random
import sys

from websockets.asyncio.client import connect
from websockets.client import process_exception
from websockets.exceptions import ConnectionClosed, InvalidStatus


def say(**event):
    print(json.dumps(event), flush=True)


class Pushes:
    """Counts, and reports when they have come."""

    def __init__(self):
        self.count = self.last = self.disordered = 0
        self.waiting = False

    def came(self, n):
        self.count += 1
        self.disordered += n < self.last
        self.last = max(self.last, n)
        if not self.waiting:
            self.waiting = True
            asyncio.get_running_loop().call_later(0.2, self.report)

    def report(self):
        self.waiting = False
        say(event="pushed", count=self.count, told=0, disordered=self.disordered)


def retried(exception):
    """As the default, and statuses that may pass."""
    if isinstance(exception, InvalidStatus) and exception.response.status_code in (401, 404, 408, 425, 429):
        return None
    return process_exception(exception)


def delays():
    delay = 1.0
    while True:
        yield delay * random.uniform(0.5, 1)
        delay = min(20.0, 2 * delay)


class Client:
    def __init__(self, work):
        self.work = work
        self.pushes = Pushes()
        self.connection = None

    async def hear(self):
        async for message in self.connection:
            what, n, *_ = message.split(" ", 2)
            if what == "done":
                say(event="answered", n=int(n))
            elif what == "push":
                self.pushes.came(int(n))
                if self.work["handling_ms"]:
                    await asyncio.sleep(self.work["handling_ms"] / 1000)

    async def send(self, n, text):
        try:
            if self.connection is None:
                raise ConnectionError("not connected")
            await self.connection.send(text)
        except (ConnectionClosed, OSError) as error:
            say(event="failed", n=n, why=str(error) or type(error).__name__)

    async def do(self):
        pad = "x" * self.work["pad"]
        sends = []
        for n in range(1, self.work["calls"] + 1):
            say(event="sent", n=n)
            sends.append(asyncio.create_task(self.send(n, f"apply {n} {pad}")))
            await asyncio.sleep(self.work["every_ms"] / 1000)
        if self.work["feed"]:
            n = 0
            while True:
                n += 1
                await self.send(n, f"feed {n} {pad}")
                await asyncio.sleep(0.001)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url")
    parser.add_argument("--settings")
    parser.add_argument("--work", type=json.loads)
    args = parser.parse_args()
    settings = {}
    if args.settings == "best":
        settings = {
            "ping_interval": 10,
            "ping_timeout": 10,
            "close_timeout": 1,
            "process_exception": retried,
            "reconnect_delays": delays,
        }
    if args.work["token"]:
        settings["additional_headers"] = {"Authorization": "Bearer token-1"}
    client = Client(args.work)
    working = None
    try:
        async for connection in connect(args.url, **settings):
            client.connection = connection
            say(event="up")
            if working is None:
                working = asyncio.create_task(client.do())
            why = "closed"
            try:
                await client.hear()
            except ConnectionClosed as error:
                why = str(error)
            client.connection = None
            say(event="down", why=why)
    except Exception as error:
        say(event="over", why=str(error) or type(error).__name__)
        sys.exit(1)


asyncio.run(main())

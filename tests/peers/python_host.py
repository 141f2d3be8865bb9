"""A host on the official Python SDK's stdio client: calls the tool `add` of a server again and again.

    python_host.py COMMAND ARGUMENT...

Starts the command, a new one when it does not come up. What happens is a line of JSON each: `refused`, `up` with the
names of the tools, `sum`, `failed` with the outcome of a call, `changed`. Ends when its standard input does.
"""

import asyncio
import json
import sys

from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import ServerNotification, ToolListChangedNotification


def tell(what: str, value: object = None) -> None:
    print(json.dumps({what: value}), flush=True)


async def heard(message: object) -> None:
    if isinstance(message, ServerNotification) and isinstance(message.root, ToolListChangedNotification):
        tell("changed")


async def work(session: ClientSession) -> None:
    tools = await session.list_tools()
    tell("up", [tool.name for tool in tools.tools])
    n = 0
    while True:
        n += 1
        try:
            result = await session.call_tool("add", {"a": n, "b": 1})
            assert result.content[0].text == str(n + 1), result
            tell("sum", n + 1)
        except McpError as error:
            tell("failed", error.error.data)
        await asyncio.sleep(0.02)


async def serve() -> None:
    server = StdioServerParameters(command=sys.argv[1], args=sys.argv[2:])
    while True:
        async with stdio_client(server) as (reader, writer):
            async with ClientSession(reader, writer, message_handler=heard) as session:
                try:
                    await session.initialize()
                except McpError as error:
                    tell("refused", error.error.message)
                    continue
                await work(session)


async def main() -> None:
    serving = asyncio.create_task(serve())
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    await asyncio.wait([serving, ended], return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    serving.cancel()
    await asyncio.wait([serving])


asyncio.run(main())

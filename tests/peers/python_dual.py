"""The official Python SDK 2.x, which speaks both eras, behind a WebSocket.

    python_dual.py PORT LEDGER [TOKEN_FILE]
    python_dual.py stdio LEDGER

PING, in the environment, is how often the server pings and how long it waits for the pong, in seconds. With a TOKEN_FILE only those get in who show the token that is in it at that moment.
"""

import asyncio
import http
import os
import sys

import anyio
import mcp_types as types
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared._context_streams import create_context_streams
from mcp.shared.message import SessionMessage
from websockets.asyncio.server import serve
from websockets.typing import Subprotocol

WHERE, LEDGER = sys.argv[1], sys.argv[2]
PING = float(os.environ.get("PING", 20))
TOKEN_FILE = sys.argv[3] if len(sys.argv) > 3 else None
server = MCPServer("python-dual")


@server.tool()
def echo(text: str) -> str:
    return text


@server.tool()
def large(size: int) -> str:
    return "x" * size


@server.tool()
def book(entry: int) -> str:
    """Writes into a ledger that outlives this process."""
    with open(LEDGER, "a") as ledger:
        ledger.write(f"{entry}\n")
    return str(entry)


@server.tool()
async def slow(seconds: float, ctx: Context) -> str:
    for step in range(10):
        await asyncio.sleep(seconds / 10)
        await ctx.report_progress(step + 1, 10, f"step {step + 1}")
    return "done"


@server.tool()
async def ask(question: str, ctx: Context) -> types.CallToolResult | types.InputRequiredResult:
    """Asks the client: the result is a question, and the call is repeated with the answer."""
    answers = ctx.input_responses
    if not answers:
        schema = {"type": "object", "properties": {"word": {"type": "string"}}}
        params = types.ElicitRequestFormParams(message=question, requested_schema=schema)
        return types.InputRequiredResult(
            input_requests={"word": types.ElicitRequest(params=params)}, request_state="state of the server"
        )
    assert ctx.request_state == "state of the server"
    word = answers["word"].content["word"]
    return types.CallToolResult(content=[types.TextContent(text=word)])


@server.tool()
async def change(ctx: Context) -> str:
    """Tells those who listen that the list of tools has changed."""
    await ctx.notify_tools_changed()
    return "changed"


@server.resource("mem://greeting")
def greeting() -> str:
    return "hello"


def admit(connection, request):
    if TOKEN_FILE is None:
        return None
    with open(TOKEN_FILE) as file:
        expected = f"Bearer {file.read().strip()}"
    if request.headers.get("Authorization") == expected:
        return None
    response = connection.respond(http.HTTPStatus.UNAUTHORIZED, "no\n")
    response.headers["WWW-Authenticate"] = 'Bearer realm="mcp"'
    return response


async def session(socket):
    to_server, incoming = create_context_streams(0)
    outgoing, from_server = create_context_streams(0)

    async def read():
        async with to_server:
            async for text in socket:
                try:
                    message = SessionMessage(types.jsonrpc_message_adapter.validate_json(text, by_name=False))
                except Exception as error:
                    message = error
                await to_server.send(message)

    async def write():
        async with from_server:
            async for message in from_server:
                await socket.send(message.message.model_dump_json(by_alias=True, exclude_unset=True))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        tasks.start_soon(write)
        inner = server._lowlevel_server
        await inner.run(incoming, outgoing, inner.create_initialization_options())
        tasks.cancel_scope.cancel()


async def main():
    subprotocols = [Subprotocol("mcp")]
    pings = {"ping_interval": PING, "ping_timeout": PING}
    async with serve(
        session, "127.0.0.1", int(WHERE), subprotocols=subprotocols, process_request=admit, **pings
    ) as listening:
        await listening.serve_forever()


if WHERE == "stdio":
    server.run("stdio")
else:
    asyncio.run(main())

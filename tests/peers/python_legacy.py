"""The official Python SDK 1.x with its own WebSocket server: legacy eras only.

    python_legacy.py PORT LEDGER
    python_legacy.py stdio LEDGER
"""

import asyncio
import sys
import warnings

warnings.simplefilter("ignore")

import uvicorn
from mcp.server.fastmcp import Context, FastMCP
from mcp.server.websocket import websocket_server
from mcp.types import SamplingMessage, TextContent

WHERE, LEDGER = sys.argv[1], sys.argv[2]
server = FastMCP("python-legacy")


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
async def ask(question: str, ctx: Context) -> str:
    """Asks the client, by a request of its own."""
    message = SamplingMessage(role="user", content=TextContent(type="text", text=question))
    answer = await ctx.session.create_message(messages=[message], max_tokens=10)
    return answer.content.text


@server.resource("mem://greeting")
def greeting() -> str:
    return "hello"


async def app(scope, receive, send):
    if scope["type"] == "websocket":
        async with websocket_server(scope, receive, send) as (incoming, outgoing):
            inner = server._mcp_server
            await inner.run(incoming, outgoing, inner.create_initialization_options())


if WHERE == "stdio":
    server.run("stdio")
else:
    uvicorn.run(app, host="127.0.0.1", port=int(WHERE), log_level="error", lifespan="off")

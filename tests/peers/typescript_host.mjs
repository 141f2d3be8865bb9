// A host on the official TypeScript SDK's stdio client: calls the tool `add` of a server again and again.
//
//     typescript_host.mjs COMMAND ARGUMENT...
//
// Starts the command, a new one when it does not come up. What happens is a line of JSON each: `refused`, `up` with the
// names of the tools, `sum`, `failed` with the outcome of a call, `changed`. Ends when its standard input does.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { McpError, ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { setTimeout as sleep } from 'node:timers/promises';

const [command, ...args] = process.argv.slice(2);
const tell = (what, value = null) => process.stdout.write(`${JSON.stringify({ [what]: value })}\n`);

let ended = false;
process.stdin.on('end', () => { ended = true; }).resume();

while (!ended) {
  const client = new Client({ name: 'typescript-host', version: '1.0.0' });
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => tell('changed'));
  try {
    await client.connect(new StdioClientTransport({ command, args }));
  } catch (error) {
    if (!(error instanceof McpError)) throw error;
    tell('refused', error.message);
    continue;
  }
  const { tools } = await client.listTools();
  tell('up', tools.map((tool) => tool.name));
  for (let n = 1; !ended; n++) {
    try {
      const result = await client.callTool({ name: 'add', arguments: { a: n, b: 1 } });
      if (result.content[0].text !== String(n + 1)) throw new Error(JSON.stringify(result));
      tell('sum', n + 1);
    } catch (error) {
      if (!(error instanceof McpError)) throw error;
      tell('failed', error.data ?? null);
    }
    await sleep(20);
  }
  await client.close();
}

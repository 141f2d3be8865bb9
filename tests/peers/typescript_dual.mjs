// The official TypeScript SDK 2.x, which speaks both eras, behind a WebSocket.
//
//     typescript_dual.mjs PORT LEDGER
//     typescript_dual.mjs stdio LEDGER
import { appendFileSync } from 'node:fs';
import { McpServer, inputRequired } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { WebSocketServer } from 'ws';
import { z } from 'zod';

const [where, ledger] = process.argv.slice(2);
const text = (text) => ({ content: [{ type: 'text', text }] });

function server() {
  const server = new McpServer(
    { name: 'typescript-dual', version: '1.0.0' },
    { capabilities: { tools: { listChanged: true } } },
  );
  server.registerTool('echo', { inputSchema: z.object({ text: z.string() }) }, async (a) => text(a.text));
  server.registerTool('large', { inputSchema: z.object({ size: z.number() }) }, async (a) => text('x'.repeat(a.size)));
  server.registerTool('book', { inputSchema: z.object({ entry: z.number() }) }, async ({ entry }) => {
    // A ledger that outlives this process.
    appendFileSync(ledger, `${entry}\n`);
    return text(String(entry));
  });
  server.registerTool('slow', { inputSchema: z.object({ seconds: z.number() }) }, async ({ seconds }, ctx) => {
    const progressToken = ctx.mcpReq._meta?.progressToken;
    for (let step = 1; step <= 10; step++) {
      await new Promise((resolve) => setTimeout(resolve, seconds * 100));
      if (progressToken !== undefined) {
        const params = { progressToken, progress: step, total: 10 };
        await ctx.mcpReq.notify({ method: 'notifications/progress', params });
      }
    }
    return text('done');
  });
  server.registerTool('ask', { inputSchema: z.object({ question: z.string() }) }, async ({ question }, ctx) => {
    const answer = ctx.mcpReq.inputResponses?.word;
    if (answer === undefined) {
      const requestedSchema = { type: 'object', properties: { word: { type: 'string' } } };
      const word = inputRequired.elicit({ message: question, requestedSchema });
      return inputRequired({ inputRequests: { word }, requestState: 'state of the server' });
    }
    return text(answer.content.word);
  });
  return server;
}

class Transport {
  constructor(socket) {
    this.socket = socket;
  }
  async start() {
    this.socket.on('message', (data) => this.onmessage?.(JSON.parse(data.toString())));
    this.socket.on('close', () => this.onclose?.());
    this.socket.on('error', (error) => this.onerror?.(error));
  }
  async send(message) {
    this.socket.send(JSON.stringify(message));
  }
  async close() {
    this.socket.close();
  }
}

if (where === 'stdio') {
  serveStdio(server);
} else {
  const sockets = new WebSocketServer({ host: '127.0.0.1', port: Number(where) });
  sockets.on('connection', (socket) => serveStdio(server, { transport: new Transport(socket) }));
}

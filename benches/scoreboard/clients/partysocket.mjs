// partysocket, over the WebSocket of `ws`.
//
// Best settings: at most 1,000 messages wait while it is not connected; a dial may take 10 s; and the URL comes from a
// function, which fetches a token. Its waits, its bound on what is an uptime and its tries are good as they are.

import { best, pushed, rivals, say, start, token, url, work } from "./client.mjs";

const { default: ReconnectingWebSocket } = rivals("partysocket/ws");
const WebSocket = rivals("ws");

const options = { WebSocket };
if (best) Object.assign(options, { maxEnqueuedMessages: 1000, connectionTimeout: 10000 });
const address = () => {
  if (!work.token) return url;
  return `${url}?token=${best ? token() : "token-1"}`;
};
const socket = new ReconnectingWebSocket(best ? address : address(), [], options);

let started = false;
socket.addEventListener("open", () => {
  say({ event: "up" });
  if (started) return;
  started = true;
  const feed = (n, pad) => socket.send(`feed ${n} ${pad}`);
  start((n, pad) => {
    socket.send(`apply ${n} ${pad}`);
    return false;
  }, feed);
});
socket.addEventListener("close", (event) => say({ event: "down", why: `${event.code} ${event.reason}` }));
socket.addEventListener("error", () => {});
socket.addEventListener("message", (event) => {
  const [what, n] = event.data.split(" ", 2);
  if (what === "done") say({ event: "answered", n: Number(n) });
  if (what === "push") pushed(Number(n));
});

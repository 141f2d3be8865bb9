// SignalR, over WebSockets alone.
//
// Best settings: a policy that dials for as long as it takes, with 1 to 20 s between two tries; a keepalive each 10 s,
// and 20 s for a sign of the server's. Stateful reconnect needs SignalR's negotiation, which the server does not speak.

import { best, pushed, rivals, say, start, token, url, work } from "./client.mjs";

const { HubConnectionBuilder, HttpTransportType, LogLevel } = rivals("@microsoft/signalr");

const patient = {
  nextRetryDelayInMilliseconds: ({ previousRetryCount }) =>
    Math.min(20000, 1000 * 2 ** previousRetryCount) * (0.5 + Math.random() / 2),
};
const options = { skipNegotiation: true, transport: HttpTransportType.WebSockets };
if (work.token) options.accessTokenFactory = token;
let builder = new HubConnectionBuilder()
  .withUrl(url.replace("ws://", "http://"), options)
  .configureLogging(LogLevel.None);
builder = best ? builder.withAutomaticReconnect(patient) : builder.withAutomaticReconnect();
if (best) builder = builder.withKeepAliveInterval(10000).withServerTimeout(20000);
const connection = builder.build();

connection.on("push", (n) => pushed(n));
connection.onreconnecting((error) => say({ event: "down", why: String(error?.message ?? error) }));
connection.onreconnected(() => say({ event: "up" }));
connection.onclose((error) => say({ event: "over", why: String(error?.message ?? error) }));

try {
  await connection.start();
  say({ event: "up" });
  const call = async (n, pad) => (await connection.invoke("apply", n, pad)) !== undefined;
  start(call, (n, pad) => connection.send("apply", n, pad).catch(() => {}));
} catch (error) {
  say({ event: "over", why: String(error?.message ?? error) });
}

// What both clients in JavaScript share. See ../src/work.rs for what they are told and what they report.

import { createRequire } from "node:module";
import { parseArgs } from "node:util";

/** Where `install` has put the packages. */
export const rivals = createRequire(`${process.env.TOWER_WS_RIVALS}/node/`);

const { values } = parseArgs({
  options: { url: { type: "string" }, settings: { type: "string" }, work: { type: "string" } },
});
export const url = values.url;
export const best = values.settings === "best";
export const work = JSON.parse(values.work);

export const say = (event) => process.stdout.write(JSON.stringify(event) + "\n");

const pushes = { count: 0, told: 0, disordered: 0 };
let last = 0;
let reporting = false;

/** A push has come: what the application does with it blocks, since nobody waits for what a listener returns. */
export function pushed(n) {
  pushes.count += 1;
  if (n < last) pushes.disordered += 1;
  last = Math.max(last, n);
  if (!reporting) {
    reporting = true;
    setTimeout(() => {
      reporting = false;
      say({ event: "pushed", ...pushes });
    }, 200);
  }
  if (work.handling_ms) {
    const until = performance.now() + work.handling_ms;
    while (performance.now() < until);
  }
}

/** A credential, another one each time. */
let asked = 0;
export function token() {
  asked += 1;
  say({ event: "asked" });
  return `token-${asked}`;
}

/** Does the work. `call` resolves with true if it was answered, and with false if that is reported elsewhere. */
export function start(call, feed) {
  const pad = "x".repeat(work.pad);
  const one = async (n) => {
    say({ event: "sent", n });
    try {
      if (await call(n, pad)) say({ event: "answered", n });
    } catch (error) {
      say({ event: "failed", n, why: String(error?.message ?? error) });
    }
  };
  if (work.every_ms === 0) {
    for (let n = 1; n <= work.calls; n += 1) one(n);
  } else if (work.calls > 0) {
    let n = 0;
    const timer = setInterval(() => {
      n += 1;
      if (n > work.calls) clearInterval(timer);
      else one(n);
    }, work.every_ms);
  }
  if (work.feed) feedAll(feed, pad);
}

async function feedAll(feed, pad) {
  for (let n = 1; ; n += 1) {
    await feed(n, pad);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

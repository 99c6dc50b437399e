#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
'use strict';
// The plain truth program in JavaScript: alpha, beta and gamma, 50:30:20. `shares.js [SECONDS]`; see ../c/truth.h.
// Node has no clock of one thread before version 23, so the shares are measured with the clock of the process, which now
// and then includes a compiler thread's work.

function alpha(rounds) {
  let x = rounds | 0;
  for (let i = 0; i < rounds; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) | 0;
  }
  return x;
}

function beta(rounds) {
  let x = rounds | 1;
  for (let i = 0; i < rounds; i++) {
    x ^= x << 13;
    x ^= x >>> 7;
  }
  return x;
}

function gamma(rounds) {
  let x = rounds | 0;
  for (let i = 0; i < rounds; i++) {
    x = (x + ((x >>> 3) ^ i)) | 0;
    x = (x << 5) | (x >>> 27);
  }
  return x;
}

let sink = 0; // keeps what is computed from being optimized away

function cpuNsec() {
  const usage = process.cpuUsage();
  return (usage.user + usage.system) * 1000;
}

function workSlice(share) {
  const rounds = 100000 + Math.floor(Math.random() * 1400000); // 0.1 to 3 ms once compiled
  const start = cpuNsec();
  sink ^= share.burn(rounds);
  share.cpuNsec += cpuNsec() - start;
}

function furthestBehind(shares) {
  return shares.reduce((a, b) => (b.cpuNsec * a.percent < a.cpuNsec * b.percent ? b : a));
}

function print(shares) {
  const cpu = Object.fromEntries(shares.map((share) => [share.name, share.cpuNsec]));
  console.log(JSON.stringify({target: 'node-shares', pid: process.pid, cpu_ns: cpu, total_ns: cpuNsec()}));
}

// Works in bites of the event loop, so that a signal can end the run early.
function run(shares, end) {
  const biteEnd = Math.min(end, performance.now() + 50);
  while (performance.now() < biteEnd) {
    workSlice(furthestBehind(shares));
  }
  if (performance.now() < end) {
    setImmediate(run, shares, end);
  } else {
    print(shares);
    process.exit(0);
  }
}

const seconds = process.argv.length > 2 ? Number(process.argv[2]) : 5;
const shares = [
  {name: 'alpha', percent: 50, burn: alpha, cpuNsec: 0},
  {name: 'beta', percent: 30, burn: beta, cpuNsec: 0},
  {name: 'gamma', percent: 20, burn: gamma, cpuNsec: 0},
];
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    print(shares);
    process.exit(0);
  });
}
run(shares, performance.now() + seconds * 1000);

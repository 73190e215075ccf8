/** Tasks for the tests of pools that change: they hold on until a file says so, and tell where they ran. */
import { existsSync } from 'node:fs';
import { isMainThread, threadId } from 'node:worker_threads';
import { createApp } from 'lovage';

const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };

export const app = createApp({
  name: 'pools',
  broker: process.env.LOVAGE_TEST_BROKER ?? 'file:/nowhere',
  defaultQueue: 'pools',
  logger: silent,
});

/** Runs until this file is there; returns its process and thread. */
export const hold = app.fn('pools.hold', async (gate: string) => {
  while (!existsSync(gate)) await new Promise((resolve) => setTimeout(resolve, 10));
  return `${process.pid}:${isMainThread ? 0 : threadId}`;
});

app.controlCommand('pools_where', (args, { nodeName }) => ({ pid: process.pid, nodeName, args }));

/** The app of the remote control suite: tasks that hold on until they are let go, and commands of its own. */
import { type App, createApp } from '../../src/index.js';

/** A broker of the suite's own. */
export interface ControlBroker {
  readonly brokerUrl: string;
  readonly resultUrl: string;
  close(): Promise<void>;
}

export const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };

/** Tasks that hold on until they are let go. */
export function application({ brokerUrl, resultUrl }: ControlBroker, queue: string) {
  const app: App = createApp({ name: 'controlled', broker: brokerUrl, results: resultUrl, logger: silent, defaultQueue: queue });
  const gate = { open: () => {}, opened: Promise.resolve(), started: 0, ended: 0 };
  const shut = (): void => {
    gate.opened = new Promise((resolve) => {
      gate.open = resolve;
    });
  };
  shut();
  const hold = app.fn('suite.hold', async (value: unknown) => {
    gate.started += 1;
    await gate.opened;
    gate.ended += 1;
    return value;
  });
  const add = app.fn('suite.add', (a: number, b: number) => a + b, { rateLimit: '1000/s' });
  const limited = app.fn('suite.limited', () => 1, { timeLimit: '2s', ack: 'early' });
  app.controlCommand('suite_double', async ({ value }, { nodeName }) => ({ doubled: Number(value) * 2, nodeName }));
  app.controlCommand('suite_throw', () => {
    throw new RangeError('not today');
  });
  return { app, gate, shut, hold, add, limited };
}

/** A fast task and a slow one, for the drill of starvation. */
import { createApp } from 'lovage';
import { noted, pause } from './noted.js';

export const app = createApp({ name: 'two-speeds', defaultQueue: 'fast' });

export const fast = app.fn('speeds.fast', () => noted(() => pause(5)));
export const slow = app.fn('speeds.slow', () => noted(() => pause(5_000)));

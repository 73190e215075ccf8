/**
 * How schedulers on one machine hear of each other without touching the database: two small files beside it, `lead` (who leads, written
 * anew while it lives) and `news` (entries were changed), watched by those who wait. Stores nothing that must last: whoever misses a sign
 * looks by itself later.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  type FSWatcher,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  watch,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import type { Logger } from '../../../core/logger.js';
import type { Lead } from '../../beat-store.js';

/** Used only where files cannot be watched. */
const FALLBACK_POLL_MS = 500;
/** Room for a name of a leader. */
const SIGN_BYTES = 256;

export class Signs {
  readonly #logger: Logger;
  readonly #paths: { readonly lead: string; readonly news: string };
  readonly #files = new Map<string, number>();
  #count = 0;

  /** @param path of the database; nothing is touched before the first use */
  constructor(path: string, app: string, logger: Logger) {
    const name = createHash('sha256').update(app).digest('hex').slice(0, 16);
    this.#paths = { lead: `${path}-bell/beat-${name}-lead`, news: `${path}-bell/beat-${name}-news` };
    this.#logger = logger;
  }

  /** Never throws: others look by themselves. */
  showLead(lead: Lead): void {
    this.#write(this.#paths.lead, JSON.stringify(lead));
  }

  showNews(): void {
    this.#write(this.#paths.news, '');
  }

  /** Calls back at each sign; the returned function ends it. */
  watch(onLead: (lead: Lead) => void, onNews: () => void): () => void {
    const ends = [
      this.#watch(this.#paths.lead, (text) => {
        const lead = leadIn(text);
        if (lead !== null) onLead(lead);
      }),
      this.#watch(this.#paths.news, onNews),
    ];
    return () => {
      for (const end of ends) end();
    };
  }

  close(): void {
    for (const file of this.#files.values()) closeSync(file);
    this.#files.clear();
  }

  #file(path: string): number {
    let file = this.#files.get(path);
    if (file === undefined) {
      mkdirSync(dirname(path), { recursive: true });
      closeSync(openSync(path, 'a'));
      file = openSync(path, 'r+');
      this.#files.set(path, file);
    }
    return file;
  }

  #write(path: string, text: string): void {
    try {
      const file = this.#file(path);
      // different each time, so that a look at the content alone tells a sign from none
      this.#count += 1;
      const sign = `${process.pid}.${this.#count} ${text}`;
      // Of one size, so that a sign is one write, and wakes those who watch once.
      const line = Buffer.from(`${sign.padEnd(SIGN_BYTES - 1)}\n`);
      writeSync(file, line, 0, line.length, 0);
      if (fstatSync(file).size !== line.length) ftruncateSync(file, line.length);
    } catch (error) {
      this.#logger.warn({ err: error, path }, 'cannot give a sign to other schedulers; they look by themselves');
    }
  }

  #watch(path: string, onSign: (text: string) => void): () => void {
    this.#file(path);
    let seen = this.#read(path);
    const look = (): void => {
      const text = this.#read(path);
      if (text === seen || !text.endsWith('\n')) return;
      seen = text;
      onSign(text.slice(text.indexOf(' ') + 1));
    };
    let watcher: FSWatcher | undefined;
    let poll: NodeJS.Timeout | undefined;
    const fallBack = (error: unknown): void => {
      if (poll) return;
      this.#logger.warn({ err: error, path }, `files cannot be watched here; looking every ${FALLBACK_POLL_MS} ms instead`);
      poll = setInterval(look, FALLBACK_POLL_MS).unref();
    };
    try {
      watcher = watch(path, { persistent: false }, look);
      watcher.on('error', fallBack);
    } catch (error) {
      fallBack(error);
    }
    return () => {
      watcher?.close();
      clearInterval(poll);
    };
  }

  #read(path: string): string {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return '';
    }
  }
}

function leadIn(text: string): Lead | null {
  try {
    const { owner, epoch } = JSON.parse(text) as Partial<Lead>;
    return (typeof owner === 'string' || owner === null) && typeof epoch === 'number' ? { owner, epoch } : null;
  } catch {
    return null;
  }
}

/**
 * Lists that do not fit into one reply: workers of ours give them by pages, which are asked for here until all are there.
 * Python's workers know no pages and answer in one piece.
 */
import type { ControlAnswers } from '../app/control/control-types.js';
import type { ControlQuestion } from '../app/gateway.js';
import { FROM_ARGUMENT } from '../wire/control-message.js';
import { type Asked, type Asker, type AskHooks, ask } from './ask.js';

/** Commands that answer with a list, and whose further arguments Python's workers pass over. */
const LISTS: ReadonlySet<string> = new Set(['active', 'reserved', 'scheduled', 'registered', 'revoked']);
/** Of one node; a page has up to 1 MiB. Beyond it the answer is incomplete. */
export const MOST_PAGES = 64;

/** Asks, and goes on asking for the rest of lists. @throws as `ask` */
export async function askAll<T>(asker: Asker, question: ControlQuestion, hooks: AskHooks = {}): Promise<ControlAnswers<T>> {
  const isList = LISTS.has(question.method);
  const { next, ...first } = await ask<T>(asker, isList ? pageOf(question, 0) : question, hooks);
  if (next.size === 0) return first;
  const rests = await Promise.all(
    [...next].map(async ([node, from]) => {
      const list = first.answers.get(node);
      return !Array.isArray(list) || (await addRest(asker, question, node, from, list as unknown[], hooks.signal));
    }),
  );
  return { ...first, complete: first.complete && rests.every(Boolean) };
}

/** Adds the rest of a node's list to its first page; `false` = the node has gone meanwhile, or has more than anybody reads. */
async function addRest(
  asker: Asker,
  question: ControlQuestion,
  node: string,
  from: number,
  list: unknown[],
  signal: AbortSignal | undefined,
): Promise<boolean> {
  let at: number | undefined = from;
  for (let pages = 1; at !== undefined; pages += 1) {
    if (pages >= MOST_PAGES) return false;
    const one: ControlQuestion = { ...pageOf(question, at), destination: [node], pattern: null, matcher: null };
    const page: Asked = await ask(asker, one, signal ? { signal } : {});
    const more = page.answers.get(node);
    if (!Array.isArray(more)) return false;
    for (const item of more as unknown[]) list.push(item);
    at = page.next.get(node);
  }
  return true;
}

function pageOf(question: ControlQuestion, from: number): ControlQuestion {
  return { ...question, args: { ...question.args, [FROM_ARGUMENT]: from } };
}

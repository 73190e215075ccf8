/** What `lovage inspect` and `lovage control` print for people: a table where the answers have rows, else a block a worker. */
import type { ControlAnswers, TaskRequest } from '../../app/control/control-types.js';
import { formatMs } from '../../core/duration.js';
import { formatTable, shorten, visible } from '../output.js';

type Row = readonly (string | number)[];
type Answers = readonly (readonly [node: string, value: unknown])[];

/** Head of the table, and the rows of one answer. An answer of another form makes no row and is shown as a block. */
interface Form {
  readonly head: readonly string[];
  rows(value: unknown): readonly Row[] | null;
}

const text = (value: unknown): string =>
  typeof value === 'string' ? value : value === undefined || value === null ? '' : JSON.stringify(value);
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function listOf(toRow: (item: unknown) => Row): Form['rows'] {
  return (value) => (Array.isArray(value) ? value.map(toRow) : null);
}

/** Lists are cut by workers with a text as their last item. */
function requestRow(value: unknown): Row {
  if (!isObject(value)) return [shorten(text(value), 80)];
  const { id, name, args, kwargs, time_start: start } = value as Partial<TaskRequest>;
  const since = typeof start === 'number' && start > 1e9 ? formatMs(Math.max(0, Date.now() - start * 1_000)) : '';
  const shown = [args, kwargs].map(text).filter((part) => !['', '()', '[]', '{}'].includes(part));
  return [text(id), shorten(text(name), 40), shorten(shown.join(' '), 50), since];
}

const REQUESTS: Form = { head: ['ID', 'TASK', 'ARGUMENTS', 'FOR'], rows: listOf(requestRow) };
const OK: Form = {
  head: ['ANSWER'],
  rows: (value) => (isObject(value) && typeof value['ok'] === 'string' ? [[shorten(value['ok'], 100)]] : null),
};

const FORMS: Readonly<Record<string, Form>> = {
  active: REQUESTS,
  reserved: REQUESTS,
  scheduled: {
    head: ['DUE', ...REQUESTS.head.slice(0, 3)],
    rows: listOf((item) =>
      isObject(item) ? [text(item['eta']), ...requestRow(item['request']).slice(0, 3)] : [shorten(text(item), 80)],
    ),
  },
  revoked: { head: ['ID'], rows: listOf((item) => [shorten(text(item), 100)]) },
  registered: { head: ['TASK'], rows: listOf((item) => [shorten(text(item), 120)]) },
  active_queues: {
    head: ['QUEUE', 'EXCHANGE', 'ROUTING KEY'],
    rows: listOf((item) => {
      if (!isObject(item)) return [shorten(text(item), 80)];
      const { name, exchange, routing_key: key } = item;
      return [
        text(name),
        isObject(exchange) ? `${text(exchange['name'])} (${text(exchange['type'])})` : text(exchange),
        text(key),
      ];
    }),
  },
  query_task: {
    head: ['ID', 'STATE', 'TASK'],
    rows: (value) =>
      isObject(value)
        ? Object.entries(value).map(([id, found]) => {
            const [state, request] = Array.isArray(found) ? (found as unknown[]) : [found, null];
            return [id, text(state), isObject(request) ? text(request['name']) : ''];
          })
        : null,
  },
  clock: { head: ['CLOCK'], rows: (value) => (isObject(value) ? [[text(value['clock'])]] : null) },
};

const COMPLEX: ReadonlySet<string> = new Set(['stats', 'conf', 'report', 'memsample', 'call']);

/** Everything that was answered, by node name; what could not be done is told with it. */
export function formatAnswers(command: string, { answers, errors }: ControlAnswers): string {
  const sorted: Answers = [...answers].sort(([a], [b]) => (a < b ? -1 : 1));
  const form = FORMS[command] ?? (COMPLEX.has(command) ? null : OK);
  const rows: Row[] = [];
  const blocks: string[] = [];
  for (const [node, value] of sorted) {
    const found = form?.rows(value) ?? null;
    if (found === null) blocks.push(block(node, value));
    else if (found.length === 0) rows.push([node, '-']);
    else rows.push(...found.map((row) => [node, ...row.map((cell) => (typeof cell === 'string' ? visible(cell) : cell))]));
  }
  for (const [node, error] of [...errors].sort(([a], [b]) => (a < b ? -1 : 1)))
    blocks.push(`${visible(node)}: ${visible(error)}`);
  const table =
    rows.length > 0 && form
      ? [
          formatTable(
            ['NODE', ...form.head],
            rows.map((row) => padded(row, form.head.length + 1)),
          ),
        ]
      : [];
  return [...table, ...blocks].join('\n');
}

const padded = (row: Row, width: number): Row => [...row, ...Array<string>(Math.max(0, width - row.length)).fill('')];

function block(node: string, value: unknown): string {
  const ok = isObject(value) && Object.keys(value).length === 1 && typeof value['ok'] === 'string' ? value['ok'] : null;
  const shown = ok ?? (typeof value === 'string' ? value : JSON.stringify(value, null, 2));
  return `${visible(node)}:\n${visible(shown ?? 'null').replace(/^/gm, '  ')}`;
}

/** For machines: what each node said, errors as Celery writes them. */
export function answersObject({ answers, errors }: ControlAnswers): Record<string, unknown> {
  const all: [string, unknown][] = [...answers, ...[...errors].map(([node, error]): [string, unknown] => [node, { error }])];
  return Object.fromEntries(all.sort(([a], [b]) => (a < b ? -1 : 1)));
}

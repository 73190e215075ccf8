/**
 * Stamps: names with values that a whole workflow carries, in Celery's form (wire section 7.9), for finding and revoking what belongs
 * together. Checked here, put on every task of a signature, callbacks and errbacks included. Pure.
 */
import { chunksAsGroup, kindOf, makeChord, partsOf, tasksOf, unfolded, withTasks } from '../../canvas/shapes.js';
import { ConfigError } from '../../core/errors.js';
import { parseSignatures, type SignatureOptions as WireOptions, type WireSignature } from '../../wire/signature.js';
import { PROTOCOL_HEADERS } from '../../wire/task-message.js';
import { checkObject } from '../config-schema.js';

/** What a stamp may hold: one value or a list. */
export type StampValue = string | number | boolean | readonly (string | number | boolean)[];

export type Stamps = Readonly<Record<string, StampValue>>;

/** Each goes into the headers of every message. */
const MOST_STAMPS = 100;

/** In a signature stamps stand beside its options, so they cannot be called like one. Celery's names. */
const OPTION_NAMES: ReadonlySet<string> = new Set(
  `task_id queue exchange routing_key priority countdown eta expires link link_error group_id group_index chord chain root_id parent_id
  reply_to serializer compression time_limit soft_time_limit shadow headers ignore_result replaced_task_nesting stamped_headers stamps
  retry retry_policy connection producer publisher router add_to_parent mandatory immediate delivery_mode app result_cls task_type
  origin interval __proto__ constructor prototype`.split(/\s+/),
);

/** @throws ConfigError `E_CONFIG_TYPE`, `E_CONFIG_RANGE`, `E_CONFIG_CONFLICT` */
export function resolveStamps(given: Stamps, what: string): Stamps {
  checkObject(given, what);
  const entries = Object.entries(given);
  if (entries.length > MOST_STAMPS)
    throw new ConfigError('E_CONFIG_RANGE', `${what}: ${entries.length} are more than ${MOST_STAMPS}`);
  for (const [name, value] of entries) {
    if (name === '' || name.length > 255) throw new ConfigError('E_CONFIG_RANGE', `${what}: a name has 1 to 255 characters`);
    if (OPTION_NAMES.has(name) || PROTOCOL_HEADERS.has(name) || name.startsWith('lovage_'))
      throw new ConfigError(
        'E_CONFIG_CONFLICT',
        `${what}: ${JSON.stringify(name)} has a meaning of its own; choose another name`,
      );
    const values: readonly unknown[] = Array.isArray(value) ? value : [value];
    if (!values.every(isPlain))
      throw new ConfigError(
        'E_CONFIG_TYPE',
        `${what}.${name}: a stamp is text, a finite number, true, false, or a list of these`,
      );
  }
  // lists of the caller may change later
  return Object.fromEntries(entries.map(([name, value]) => [name, Array.isArray(value) ? [...value] : value]));
}

const isPlain = (value: unknown): boolean =>
  typeof value === 'string' || typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value));

/** As options of a signature; of the same name the new one counts. */
function stampOptions({ stamped_headers: before }: WireOptions, stamps: Stamps): WireOptions {
  const known = Array.isArray(before) ? (before as string[]) : [];
  return { ...stamps, stamped_headers: [...new Set([...known, ...Object.keys(stamps)])] };
}

/** The same with these stamps on each of its tasks, on callbacks and errbacks too, as Celery's `stamp()` does. */
export function stamped(given: WireSignature, stamps: Stamps): WireSignature {
  if (Object.keys(stamps).length === 0) return given;
  const all = (signatures: unknown): WireSignature[] => parseSignatures(signatures).map((each) => stamped(each, stamps));
  const { link, link_error } = given.options;
  const signature: WireSignature = {
    ...given,
    options: {
      ...given.options,
      ...(link != null && { link: all(link) }),
      ...(link_error != null && { link_error: all(link_error) }),
    },
  };
  switch (kindOf(signature)) {
    case 'chain':
    case 'group':
      return withTasks(signature, all(tasksOf(signature)));
    case 'chord': {
      const { header, body } = partsOf(signature);
      const chord = makeChord(stamped(header, stamps), stamped(body, stamps));
      return { ...signature, kwargs: { ...signature.kwargs, ...chord.kwargs } };
    }
    case 'chunks':
      return stamped(chunksAsGroup(signature), stamps);
    default: {
      const whole = unfolded(signature);
      if (whole !== signature) return stamped(whole, stamps);
      return { ...signature, options: { ...signature.options, ...stampOptions(signature.options, stamps) } };
    }
  }
}

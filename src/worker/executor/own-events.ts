/** Events that tasks send themselves: what they may be called, and how large they may be. Their way goes on in `engine/reporting/task-events.ts`. */
import { ArgumentError, ConfigError } from '../../core/errors.js';
import { EVENT_TYPES } from '../../wire/event-types.js';
import { encodeJson, type JsonMode } from '../../wire/serializers/json.js';

/** Longest JSON of the fields, in bytes: many events wait together, and a broker sends each to everybody. */
const MAX_FIELDS = 16_384;
const LONGEST_TYPE = 100;

/** @throws ConfigError `E_CONFIG_RANGE` */
export function checkEventType(type: string): string {
  const why = Object.hasOwn(EVENT_TYPES, type)
    ? 'workers send it themselves'
    : typeof type !== 'string' || type.length > LONGEST_TYPE || !/^task(-[a-z0-9]+)+$/.test(type)
      ? "it must be like 'task-page': task, and words of small letters and digits"
      : null;
  if (why === null) return type;
  throw new ConfigError('E_CONFIG_RANGE', `sendEvent: the type ${JSON.stringify(type)} cannot be used, ${why}`);
}

/** @throws ArgumentError `E_NOT_SERIALISABLE`, `E_MESSAGE_TOO_LARGE` */
export function encodeEventFields(fields: Readonly<Record<string, unknown>>, mode: JsonMode): string {
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields))
    throw new ArgumentError('E_NOT_SERIALISABLE', 'sendEvent: the fields must be an object');
  const json = encodeJson(fields, { path: 'fields', mode });
  const bytes = Buffer.byteLength(json);
  if (bytes <= MAX_FIELDS) return json;
  throw new ArgumentError(
    'E_MESSAGE_TOO_LARGE',
    `sendEvent: the fields have ${bytes} bytes of JSON, more than ${MAX_FIELDS}: send less`,
  );
}

/**
 * Signatures from Celery's dict form: what `toJSON()` gave, or what Python wrote. All of it is looked through at once, so that a
 * signature which cannot be run is refused here and not by the worker that comes to the part. Pure.
 */
import { chunksAsGroup, kindOf, partsOf, tasksOf } from '../../canvas/shapes.js';
import { WireError } from '../../core/errors.js';
import { decodeJson, encodeJson } from '../../wire/serializers/json.js';
import { parseSignature, parseSignatures, type WireSignature } from '../../wire/signature.js';

/**
 * A copy of its own, in which typed values (dates, bytes, …) are what they stand for.
 * @param given an object, or JSON text
 * @throws WireError `E_DECODE`; ArgumentError `E_NOT_SERIALISABLE`
 */
export function readSignature(given: unknown): WireSignature {
  const value = decodeJson(typeof given === 'string' ? given : encodeJson(given, { path: 'signature' }));
  const wire = parseSignature(value);
  checkParts(wire);
  return wire;
}

/** @throws WireError `E_DECODE` when something in it is no signature, or a part of it could not be run */
function checkParts(wire: WireSignature): void {
  const { link, link_error, chain } = wire.options;
  for (const part of [...parseSignatures(link, 'link'), ...parseSignatures(link_error, 'link_error')]) checkParts(part);
  for (const part of parseSignatures(chain, 'options.chain')) checkParts(part);
  switch (kindOf(wire)) {
    case 'chain':
    case 'group': {
      const tasks = tasksOf(wire);
      if (tasks.length === 0) throw new WireError('E_DECODE', `a ${wire.task} has no tasks`);
      tasks.forEach(checkParts);
      return;
    }
    case 'chord': {
      const { header, body } = partsOf(wire);
      // a chord without parts is run, as by Celery: its body gets an empty list
      for (const part of kindOf(header) === 'group' ? tasksOf(header) : [header]) checkParts(part);
      checkParts(body);
      return;
    }
    case 'chunks':
      parseSignature(wire.kwargs['task'], 'task of celery.chunks');
      if (tasksOf(chunksAsGroup(wire)).length === 0) throw new WireError('E_DECODE', 'a celery.chunks has no rows');
      return;
    default:
      if (wire.task === 'celery.map' || wire.task === 'celery.starmap') {
        parseSignature(wire.kwargs['task'], `task of ${wire.task}`);
        if (!Array.isArray(wire.kwargs['it'])) throw new WireError('E_DECODE', `a ${wire.task} has no array to go through`);
      }
  }
}

/** What a canvas is called: by the task whose result is that of the whole. */
export function nameOf(wire: WireSignature): string {
  switch (kindOf(wire)) {
    case 'chain': {
      const last = tasksOf(wire).at(-1);
      return last === undefined ? wire.task : nameOf(last);
    }
    case 'chord':
      return nameOf(partsOf(wire).body);
    case 'chunks':
      return 'celery.group';
    default:
      return wire.task;
  }
}

/** As plain JSON, so that `JSON.stringify` keeps dates, bytes and other typed values in Celery's form. */
export const writeSignature = (wire: WireSignature): WireSignature =>
  decodeJson(encodeJson(wire, { path: 'signature' }), { typed: false }) as WireSignature;

/** JSON as kombu reads and writes it, both directions under one roof. The work is in `json-encode.ts` and `json-decode.ts`. */
export { type DecodeJsonLimits, decodeJson, textOfUtf8 } from './json-decode.js';
export { type EncodeJsonOptions, encodeJson, isPlainJson, type JsonMode } from './json-encode.js';

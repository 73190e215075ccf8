/**
 * The public subpath `lovage/wire`: everything another Celery node can see, for people who build tools. Pure functions: no
 * connections, no clock, no random numbers. The guide is `docs/reference/wire.md`.
 */
export { type AmqpProperties, fromAmqpProperties, type ReceivedAmqpProperties, toAmqpProperties } from './amqp-message.js';
export type { AddressedMessage } from './broadcast-message.js';
export {
  type ControlReply,
  type ControlRequest,
  type ControlRequestInput,
  controlExchange,
  decodeControlReply,
  decodeControlRequest,
  encodeControlReply,
  encodeControlRequest,
  isAddressedTo,
  type ReplyAddress,
  replyExchange,
  replyQueue,
} from './control-message.js';
export {
  type DecodedEvents,
  decodeEvents,
  EVENT_BATCH_KEY,
  EVENT_BATCH_SIZE,
  EVENT_EXCHANGE,
  encodeEvent,
  encodeEventBatch,
  eventRoutingKey,
  type WireEvent,
} from './event-message.js';
export { COMMON_EVENT_FIELDS, EVENT_TYPES, type EventType, type EventTypeEntry } from './event-types.js';
export { type DecodedException, decodeException, type EncodedException, encodeException, pythonError } from './exception-info.js';
export { isoFromMs, parseIsoMs } from './iso-time.js';
export type { Destination, EncodedBody, MessageProperties, WireMessage } from './message.js';
export { pythonRepr, reprArgs, reprKwargs, type SecretArgs } from './python-repr.js';
export {
  type DecodedEnvelope,
  decodeEnvelope,
  type EnvelopeRoute,
  encodeEnvelope,
  PRIORITY_SEPARATOR,
  PRIORITY_STEPS,
  queueKey,
  queueKeys,
  redisPriority,
} from './redis-envelope.js';
export {
  decodeResultMeta,
  type ExtendedMeta,
  encodeResultMeta,
  encodeRpcMeta,
  type ResultChild,
  type ResultMeta,
  type ResultMetaInput,
  rpcReplyQueue,
} from './result-meta.js';
export { type RetryOptions, retrySuccessor } from './retry-successor.js';
export { type DecodeJsonLimits, decodeJson, type EncodeJsonOptions, encodeJson, type JsonMode } from './serializers/json.js';
export { type DecodeBodyOptions, decodeBody, MAX_BODY_BYTES, type SerializerName } from './serializers/registry.js';
export {
  makeSignature,
  mergeSignature,
  parseSignature,
  parseSignatures,
  type SignatureCall,
  type SignatureOptions,
  type SubtaskType,
  type WireSignature,
} from './signature.js';
export { decodeTaskBody, type TaskBody, upgradeProtocol1 } from './task-body.js';
export { readTaskHeaders, type TaskHeaders, userHeaders } from './task-headers.js';
export { type EncodeTaskOptions, encodeTaskMessage, type TaskCall } from './task-message.js';
export { holdsException, isFinalState, isThrowingState, TASK_STATES, type TaskState } from './task-states.js';
export { WireDate, WireDecimal, WireTime, WireUuid } from './typed-values.js';

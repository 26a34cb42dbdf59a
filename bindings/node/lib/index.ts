// The public names of styx-client.

export { Record, RecordBatch } from "./batch.js";
export { Checkpoint } from "./checkpoint.js";
export { Client, type CreateOptions } from "./client.js";
export { Consumer, type ConsumerStreamOptions, type PollOptions } from "./consumer.js";
export { type ErrorFacts, StyxError } from "./errors.js";
export type { StyxEvent } from "./events.js";
export type { Integer } from "./integers.js";
export type { ClientOptions, Codec, ConsumerOptions, ProducerOptions, Start } from "./options.js";
export type { Payload } from "./packer.js";
export { Producer } from "./producer.js";
export {
  type ClientStats,
  type ConsumerStats,
  CursorInfo,
  type LogConfig,
  type LogDetails,
  LogInfo,
  type ProducerStats,
  type ServerInfo,
} from "./values.js";
export type { CallOptions, TimedOptions } from "./waiting.js";

import { native } from "./native.js";

/** The version of the package. */
export const version: string = native.version();

// Events of connections, on diagnostics channels.

import { channel } from "node:diagnostics_channel";
import { fromJson, type StyxError } from "./errors.js";
import { type ClientHandle, native } from "./native.js";

/**
 * An event of a connection. It is published on the channel `styx-client:` and its kind,
 * such as `styx-client:lost`, on the thread that made the client.
 */
export interface StyxEvent {
  /** The last part of the channel's name. docs/node-practice.md explains each. */
  readonly kind: "connected" | "lost" | "again" | "damaged" | "closed" | "changed";
  /** The kind of object that the event is about. */
  readonly subject: "client" | "producer" | "consumer";
  /** The name of the log. */
  readonly log: string;
  /** The address of the server. */
  readonly address: string;
  /** Why the connection was lost. */
  readonly error?: StyxError;
  /** Milliseconds until the next attempt. */
  readonly wait?: number;
  /** The position of the damaged record. */
  readonly position?: bigint;
}

interface NativeEvent {
  kind: StyxEvent["kind"];
  subject: StyxEvent["subject"];
  log: string;
  error?: string;
  wait?: number;
  position?: string;
}

const KINDS = ["connected", "lost", "again", "damaged", "closed", "changed"] as const;
const CHANNELS = new Map(KINDS.map((kind) => [kind, channel(`styx-client:${kind}`)]));

/** Publishes the events that have happened. */
export function publish(client: ClientHandle, address: string): void {
  // They are taken even if nobody listens, because the core keeps a limited number.
  const taken = native.takeEvents(client);
  if (![...CHANNELS.values()].some(({ hasSubscribers }) => hasSubscribers)) {
    return;
  }
  for (const event of (JSON.parse(taken) as { events: NativeEvent[] }).events) {
    const { error, position, ...others } = event;
    CHANNELS.get(event.kind)?.publish({
      ...others,
      address,
      ...(error === undefined ? {} : { error: fromJson(error) }),
      ...(position === undefined ? {} : { position: BigInt(position) }),
    } satisfies StyxEvent);
  }
}

// One listener for each AbortSignal, however many calls wait with it: Node.js warns from 11 on.

type Abort = () => void;

const waiting = new WeakMap<AbortSignal, Set<Abort>>();

/** Calls `abort` when the signal aborts, unless the returned function was called before. */
export function onAbort(signal: AbortSignal | undefined, abort: Abort): () => void {
  if (signal === undefined) {
    return () => {};
  }
  const calls = waiting.get(signal) ?? listen(signal);
  calls.add(abort);
  return () => {
    calls.delete(abort);
    if (calls.size === 0 && waiting.get(signal) === calls) {
      unlisten.get(calls)?.();
    }
  };
}

const unlisten = new WeakMap<Set<Abort>, () => void>();

function listen(signal: AbortSignal): Set<Abort> {
  const calls = new Set<Abort>();
  const listener = () => {
    waiting.delete(signal);
    for (const abort of calls) {
      abort();
    }
  };
  signal.addEventListener("abort", listener, { once: true });
  waiting.set(signal, calls);
  unlisten.set(calls, () => {
    waiting.delete(signal);
    signal.removeEventListener("abort", listener);
  });
  return calls;
}

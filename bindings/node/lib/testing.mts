// The same for ECMAScript modules.

export * from "./testing.js";

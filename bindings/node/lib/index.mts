// The same for ECMAScript modules.

export * from "./index.js";

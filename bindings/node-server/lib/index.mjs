// The same for ECMAScript modules.
export { path } from "./index.js";

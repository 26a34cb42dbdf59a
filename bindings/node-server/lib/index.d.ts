/**
 * The absolute path of the server's binary, for `child_process.spawn`.
 *
 * @throws Error if the package of this platform is not installed. The message says what to do.
 */
export declare function path(): string;

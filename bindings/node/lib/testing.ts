// A server for tests.

export {};

// {{name}}: a service in JavaScript.

import logging from "wasi:logging/logging@0.1.0-draft";

// QuickJS has no console. This one writes to the log of the node, which `izna dev` shows.
const line = (level) => (...words) => logging.log(level, "", words.map(String).join(" "));
globalThis.console = {
    debug: line("debug"),
    log: line("info"),
    info: line("info"),
    warn: line("warn"),
    error: line("error"),
};

export const greeter = {
    hello(name) {
        return `Hello, ${name ?? "world"}!\n`;
    },
};

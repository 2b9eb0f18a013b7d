// {{name}}: a service in JavaScript.

export const greeter = {
    hello(name) {
        return `Hello, ${name ?? "world"}!\n`;
    },
};

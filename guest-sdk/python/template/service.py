"""{{name}}: a service in Python."""

from wit_world import exports


class Greeter(exports.Greeter):
    def hello(self, name: str | None) -> str:
        return f"Hello, {name or 'world'}!\n"

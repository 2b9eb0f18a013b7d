"""The renderer in Python: a line of text as a picture."""

from wit_world import exports


class Renderer(exports.Renderer):
    def render(self, text: str) -> bytes:
        escaped = text.replace("&", "&amp;").replace("<", "&lt;")
        return f'<svg xmlns="http://www.w3.org/2000/svg" height="24"><text y="18">{escaped}</text></svg>'.encode()

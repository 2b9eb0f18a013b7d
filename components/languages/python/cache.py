"""The cache in Python: has each line drawn once, wherever the renderer runs."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.cache import Page
from wit_world.imports import renderer


class Cache(exports.Cache):
    def show(self, lines: list[str]) -> Page:
        if not lines:
            raise Err("there are no lines")
        pictures: dict[str, bytes] = {}
        for line in lines:
            # A call of another component: its node may be another one, and so may ours be afterwards.
            if line not in pictures:
                pictures[line] = renderer.render(line)
        svg = b"".join(pictures[line] for line in lines)
        return Page(svg, drawn=len(pictures), kept=len(lines) - len(pictures))

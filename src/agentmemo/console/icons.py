"""One inline sprite per page, with only the symbols that the page used."""

from __future__ import annotations

from markupsafe import Markup

# 16 px grid, stroke 1.7; every state has a shape of its own.
SHAPES = {
    "brand": '<path d="M3 2.5h7l3 3v8H3z"/><path d="M5.5 7h5M5.5 10h3"/>',
    "completed": '<path d="m3 8.6 3.3 3.2L13 4.6"/>',
    "doubt": '<path d="M5.7 6.2a2.3 2.3 0 1 1 3.3 2.1c-.7.4-1 .8-1 1.6M8 12.3v.1"/>'
    '<circle cx="8" cy="8" r="6.3" stroke-dasharray="2 2.2"/>',
    "failed": '<path d="m4 4 8 8M12 4l-8 8"/>',
    "high": '<path d="M8 2.2 14.3 13.2H1.7z"/><path d="M8 6.5v3M8 11.3v.1"/>',
    "low": '<path d="M3 8h10"/>',
    "pending": '<circle cx="8" cy="8" r="5.5" stroke-dasharray="1.5 2.5"/>',
    "person": '<circle cx="8" cy="5.3" r="2.6"/><path d="M3 13.8c.5-3 2.4-4.3 5-4.3s4.5 1.3 5 4.3"/>',
    "replay": '<path d="M3 8a5 5 0 1 1 1.5 3.6M3 13v-2.5h2.5"/>',
    "running": '<path d="M13.6 8A5.6 5.6 0 1 1 8 2.4"/><path d="M8 5v3l2 1.3"/>',
    "waiting": '<circle cx="8" cy="8" r="5.8"/><path d="M6.5 6v4M9.5 6v4"/>',
}


class Icons:
    """Hands out icons and remembers which; the sprite stands at the end of the page."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def icon(self, name: str) -> Markup:
        self._used.add(name)
        return Markup('<svg class="i" aria-hidden="true"><use href="#i-{}"/></svg>').format(name)

    def sprite(self) -> Markup:
        symbols = "".join(
            f'<symbol id="i-{name}" viewBox="0 0 16 16">{SHAPES[name]}</symbol>' for name in sorted(self._used)
        )
        return Markup(f'<svg hidden id="sprite" data-part>{symbols}</svg>')  # noqa: S704 - made of the shapes above only

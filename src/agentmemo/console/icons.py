"""One inline sprite per page, with only the symbols that the page used."""

from __future__ import annotations

from markupsafe import Markup

# 16 px grid, stroke 1.7; every state has a shape of its own.
SHAPES = {
    "bell": '<path d="M4 11V7.2a4 4 0 0 1 8 0V11l1 1.2H3zM6.8 14h2.4"/>',
    "brand": '<path d="M3 2.5h7l3 3v8H3z"/><path d="M5.5 7h5M5.5 10h3"/>',
    "completed": '<path d="m3 8.6 3.3 3.2L13 4.6"/>',
    "critical": '<path d="M5.4 1.8h5.2l3.6 3.6v5.2l-3.6 3.6H5.4l-3.6-3.6V5.4z"/><path d="M8 4.8v4M8 11.2v.1"/>',
    "dead": '<path d="M3.5 2.5h9v11h-9z"/><path d="m6.2 6.2 3.6 3.6M9.8 6.2 6.2 9.8"/>',
    "declined": '<circle cx="8" cy="8" r="5.8"/><path d="m4 12 8-8"/>',
    "doubt": '<path d="M5.7 6.2a2.3 2.3 0 1 1 3.3 2.1c-.7.4-1 .8-1 1.6M8 12.3v.1"/>'
    '<circle cx="8" cy="8" r="6.3" stroke-dasharray="2 2.2"/>',
    "expired": '<path d="M4 2.3h8M4 13.7h8M5 2.5c0 3 6 4.2 6 5.5s-6 2.5-6 5.5M11 2.5c0 3-6 4.2-6 5.5s6 2.5 6 5.5"/>',
    "failed": '<path d="m4 4 8 8M12 4l-8 8"/>',
    "high": '<path d="M8 2.2 14.3 13.2H1.7z"/><path d="M8 6.5v3M8 11.3v.1"/>',
    "low": '<path d="M3 8h10"/>',
    "medium": '<path d="M8 1.8 14.2 8 8 14.2 1.8 8z"/>',
    "out": '<path d="M2.5 8h10M9 4.5 12.5 8 9 11.5"/>',
    "pending": '<circle cx="8" cy="8" r="5.5" stroke-dasharray="1.5 2.5"/>',
    "person": '<circle cx="8" cy="5.3" r="2.6"/><path d="M3 13.8c.5-3 2.4-4.3 5-4.3s4.5 1.3 5 4.3"/>',
    "replay": '<path d="M3 8a5 5 0 1 1 1.5 3.6M3 13v-2.5h2.5"/>',
    "running": '<path d="M13.6 8A5.6 5.6 0 1 1 8 2.4"/><path d="M8 5v3l2 1.3"/>',
    "scheduled": '<circle cx="8" cy="8" r="5.8"/><path d="M8 4.8V8l2.3 1.6"/>',
    "submitted": '<path d="M8 1.8 13.2 3.6v4c0 3.2-2.1 5.3-5.2 6.6-3.1-1.3-5.2-3.4-5.2-6.6v-4z"/>'
    '<path d="m5.7 7.8 1.7 1.7 3-3.2"/>',
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

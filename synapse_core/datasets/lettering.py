"""Texts in pictures: fonts that have the letters, and as much of a text as there is room for."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import TypeAlias

from PIL import ImageFont

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
# Where the letters of Pillow's own font end, the first of these that is installed and has them.
_OTHER_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKkr-Regular.otf",
    "NotoSansKR-Regular.otf",
    "NotoSansKR-Regular.ttf",
    "NanumGothic.ttf",
    "AppleSDGothicNeo.ttc",
    "malgun.ttf",
    "msgothic.ttc",
    "wqy-microhei.ttc",
    "Arial Unicode.ttf",
    "NotoSans-Regular.ttf",
    "DejaVuSans.ttf",
    "arial.ttf",
)
# A code point that no font has a letter for.
_NO_LETTER = "\uffff"


class Lettering:
    """One size of letters, in pixels."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._plain = _plain_font(size)
        ascent = self._plain.getbbox("Hg")
        self.height = int(ascent[3]) + 1

    def font(self, text: str) -> Font | None:
        """Return a font that has all letters of a text, None where none is at hand."""
        if text.isascii() or _has(self._plain, text):
            return self._plain
        for name in _OTHER_FONTS:
            font = _other_font(name, self.size)
            if font is not None and _has(font, text):
                return font
        return None

    def readable(self, text: str, instead: str | None = None) -> str:
        """Return a text whose letters can be drawn.

        Without accents where that does it; else `instead`, or the text with ? for what no font has.
        """
        text = "".join(" " if unicodedata.category(one)[0] in "CZ" else one for one in text)
        if self.font(text) is not None:
            return text
        bare = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
        if self.font(bare) is not None:
            return bare
        if instead is not None:
            return instead
        return "".join(one if one.isascii() else "?" for one in bare)

    def width(self, text: str) -> int:
        return int((self.font(text) or self._plain).getlength(text)) + 1

    def cut(self, text: str, room: int, *, keeps_end: bool = False) -> str:
        """Return as much of a text as is `room` pixels wide, with … where it was cut: at its end, or at its
        beginning."""
        if self.width(text) <= room:
            return text
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            part = f"…{text[len(text) - middle :]}" if keeps_end else f"{text[:middle].rstrip()}…"
            low, high = (middle, high) if self.width(part) <= room else (low, middle - 1)
        if low == 0:
            return ""
        return f"…{text[len(text) - low :]}" if keeps_end else f"{text[:low].rstrip()}…"


@cache
def _plain_font(size: int) -> Font:
    return ImageFont.load_default(size)


@cache
def _other_font(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


def _has(font: Font, text: str) -> bool:
    """Return True where a font has a letter for each character of a text."""
    missing = _drawn(font, _NO_LETTER)
    return all(one.isspace() or _drawn(font, one) != missing for one in set(text))


@cache
def _drawn(font: Font, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)

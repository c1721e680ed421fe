"""Reading the arrays of a large JSON object in blocks, so that the file need never be in memory as a whole.

Where one element ends is found without reading it: a block is cut after the last `}` that a comma and
another `{` follow, and decoding says whether that was between two elements or inside one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from typing import Any, Protocol

import msgspec

from synapse_core.errors import InvalidDataset

# Decoded, a block of polygons takes ten times its bytes.
_BLOCK_BYTES = 1 << 18
# One element, or one value that is no array, may be so long.
_MOST_VALUE_BYTES = 256 << 20
_BETWEEN = re.compile(rb"\}\s*,\s*\{")
# The same with white space in it.
_WIDE = re.compile(rb"\}(?:\s+,\s*|,\s+)\{")
_SPACE = re.compile(rb"[ \t\r\n]*")
_POSITION = re.compile(r"trailing characters \(byte (\d+)\)")
_WRONG = re.compile(r"malformed: .*\(byte (\d+)\)")
_COMMA = re.compile(r"[ \t\r\n]*,[ \t\r\n]*")
_MOST_CUTS = 50
# The first look at an element that is not quite JSON.
_LOOSE_BYTES = 1 << 16
# -Infinity: a word that the end of a block cuts is no longer.
_LONGEST_WORD = 9

_raws = msgspec.json.Decoder(list[msgspec.Raw])
_any = msgspec.json.Decoder()


class Decodes(Protocol):
    """What makes rows of an array's text: a decoder of msgspec, or one like it."""

    def decode(self, text: bytes, /) -> list[Any]:
        """Raises msgspec.DecodeError or UnicodeDecodeError where they are not such rows."""
        ...


class Either:
    """Decodes rows as the first of several kinds that all of them are."""

    def __init__(self, *decoders: Decodes) -> None:
        self._decoders = decoders

    def decode(self, text: bytes) -> list[Any]:
        *likely, last = self._decoders
        for decoder in likely:
            try:
                return decoder.decode(text)
            except (msgspec.DecodeError, UnicodeDecodeError):
                pass  # they are of the next kind
        return last.decode(text)


class Block(msgspec.Struct, frozen=True):
    """Whole elements of an array, separated by commas. offset: where they begin in the file.

    rows: what the array's decoder made of them, None where there is none or they are not as it wants them.
    """

    offset: int
    data: bytes
    rows: list[Any] | None = None


class JsonFile:
    """A local JSON file. arrays: key -> where the array begins, just after its bracket; '' where the file is
    one array. values: key -> value of everything else at the top."""

    def __init__(self, path: str, name: str, block_bytes: int | None = None) -> None:
        """name: what the file is called in messages. block_bytes: how much of an array is read at once."""
        self.path = path
        self.name = name
        self.arrays: dict[str, int] = {}
        self.values: dict[str, Any] = {}
        self.block_bytes = block_bytes or _BLOCK_BYTES
        # Where in the file the next character is read, and whether that is among the elements of an array.
        self.at = 0
        self.is_in_array = False
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._file)

    def size(self) -> int:
        return os.fstat(self._file).st_size

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the file."""
        data = os.pread(self._file, length, offset)
        while len(data) < length and (more := os.pread(self._file, length - len(data), offset + len(data))):
            data += more
        return data

    def arrays_of(
        self, decoders: Mapping[str, Decodes] | None = None
    ) -> Iterator[tuple[str, Iterator[Block]]]:
        """Yield the arrays of objects at the top, each with its blocks, in the file's order.

        decoders: key -> what decodes the rows of an array: a block is decoded to find its end anyway.
        The blocks of one have to be used up before the next, or `at` be set behind the array. All other
        values are in `values` afterwards.
        """
        first = self._next()
        if first == b"[":
            yield "", self.blocks((decoders or {}).get(""))
            return
        if first != b"{":
            raise self._broken("it begins with neither { nor [")
        while True:
            mark = self._next()
            if mark == b"}":
                return
            if mark == b",":
                continue
            if mark != b'"':
                raise self._broken("a key was expected")
            self.at -= 1
            key = self._value()
            if self._next() != b":":
                raise self._broken(f"a colon was expected after {key!r}")
            mark = self._next()
            begin = self.at - 1
            if mark == b"[" and self._peek() == b"{":
                yield key, self.blocks((decoders or {}).get(key))
                continue
            self.at = begin
            self.values[key] = self._value()

    def _next(self) -> bytes:
        """Return the next character that is no white space, and go past it."""
        mark = self._peek()
        if not mark:
            raise self._broken("it ends too early")
        self.at += 1
        return mark

    def _peek(self) -> bytes:
        while True:
            head = os.pread(self._file, 4096, self.at)
            if not head:
                return b""
            if self.at == 0 and head.startswith(b"\xef\xbb\xbf"):
                self.at = 3
                continue
            space = _SPACE.match(head)
            assert space is not None
            self.at += space.end()
            if space.end() < len(head):
                return head[space.end() : space.end() + 1]

    def _value(self) -> Any:
        """Return the value that begins here, and go past it."""
        size = 1 << 14
        while True:
            data = self.read(self.at, size)
            is_all = len(data) < size
            try:
                text = data.decode("utf-8", "surrogateescape")
                _, end = json.JSONDecoder().raw_decode(text)
            except json.JSONDecodeError as error:
                is_cut = error.pos > len(text) - _LONGEST_WORD or error.msg.startswith("Unterminated")
                if is_all or not is_cut or size > _MOST_VALUE_BYTES:
                    raise self._broken(error.msg) from error
            else:
                if end < len(text) or is_all:
                    value = text[:end].encode("utf-8", "surrogateescape")
                    self.at += len(value)
                    return loose(value)
            size *= 8

    def blocks(self, decoder: Decodes | None, until: int | None = None) -> Iterator[Block]:
        """Yield the blocks of elements that begin here, to the end of their array and past its bracket.

        until: or up to there, where an element may end; if none does, they end somewhere before.
        """
        size = self.block_bytes
        self.is_in_array = self._peek() != b"]"
        if not self.is_in_array:
            self.at += 1
            return
        while True:
            if until is not None and self.at + size >= until:
                yield from self._rest(decoder, until)
                return
            data = self.read(self.at, size)
            is_all = len(data) < size
            cut, is_end, rows = self._cut(data, is_all, decoder or _raws)
            if cut is None:
                if is_all or size > _MOST_VALUE_BYTES:
                    raise self._broken("an array does not end, or an entry in it is broken")
                size *= 4
                continue
            if cut:
                yield Block(self.at, data[:cut], rows if decoder else None)
            self.at += cut
            if self._next() == b"]":
                self.is_in_array = False
                return
            if is_end:
                raise self._broken("an array does not end")
            size = self.block_bytes
            self._peek()

    def _rest(self, decoder: Decodes | None, until: int) -> Iterator[Block]:
        """Yield the block of all elements up to there, none where one stands across."""
        data = self.read(self.at, until - self.at)
        rows: list[Any] | None = None
        try:
            _raws.decode(b"[" + data + b"]")
            if decoder is not None:
                rows = decoder.decode(b"[" + data + b"]")
        except msgspec.ValidationError:
            pass  # whole elements all the same
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        yield Block(self.at, data, rows)
        self.at = until

    def _cut(self, data: bytes, is_all: bool, decoder: Decodes) -> tuple[int | None, bool, list[Any] | None]:
        """Return how many bytes of the block are whole elements, whether the array ends after them, and what
        they hold where that was found on the way.
        """
        if is_all and (end := _end_of_array(b"[" + data)) is not None:
            return end, True, None
        tried = 0
        at = len(data)
        while (at := data.rfind(b"}", 0, at)) >= 0 and tried < _MOST_CUTS:
            if not _BETWEEN.match(data, at):
                continue
            tried += 1
            text = b"[" + data[: at + 1] + b"]"
            try:
                return at + 1, False, decoder.decode(text)
            except (msgspec.DecodeError, UnicodeDecodeError):
                pass  # whole elements all the same, perhaps
            try:
                _raws.decode(text)
            except msgspec.DecodeError as error:
                if (end := _end_in(error, text)) is not None:
                    return end, True, None
                # Whatever comes after what is no JSON has it before itself.
                wrong = _WRONG.search(str(error))
                at = at if wrong is None else min(at, int(wrong[1]) - 1)
                continue
            return at + 1, False, None
        if (end := _end_of_array(b"[" + data)) is not None:
            return end, True, None
        return self._loose_cut(data, is_all), False, None

    def _loose_cut(self, data: bytes, is_all: bool) -> int | None:
        """Return the same where the first element is not quite JSON: it has NaN in it, say.

        Raises InvalidDataset where it is nothing at all.
        """
        size = _LOOSE_BYTES
        while True:
            text = data[:size].decode("utf-8", "surrogateescape")
            if end := max((end for _, end in _loose_elements(text)), default=0):
                return len(text[:end].encode("utf-8", "surrogateescape"))
            if size >= len(data):
                break
            size *= 8
        try:
            json.JSONDecoder().raw_decode(text)
        except json.JSONDecodeError as error:
            is_cut = error.pos > len(text) - _LONGEST_WORD or error.msg.startswith("Unterminated")
            if is_all or not is_cut:
                self.at += len(text[: error.pos].encode("utf-8", "surrogateescape"))
                raise self._broken(error.msg) from error
        return None

    def cuts(self, parts: int) -> list[tuple[int, int]]:
        """Return where an element may end and the next begin, so that they cut the rest of the file in parts
        of about one size. Whether one does is known once all before it was read.
        """
        first, size = self.at, self.size()
        found: list[tuple[int, int]] = []
        for part in range(1, parts):
            begin = first + (size - first) * part // parts
            if found and begin <= found[-1][1]:
                continue  # the element before is as long as a part
            if border := _BETWEEN.search(self.read(begin, self.block_bytes)):
                found.append((begin + border.start() + 1, begin + border.end() - 1))
        return found

    def _broken(self, why: str) -> InvalidDataset:
        return InvalidDataset(
            f"{self.name} is not whole JSON: {why}, near byte {self.at:,} of {self.size():,}.",
            {"file": self.name, "byte": self.at},
            hint="Was it downloaded or written completely?",
        )


def _end_of_array(text: bytes) -> int | None:
    """Return how many bytes of elements stand before the bracket that ends the array, None where none
    does.
    """
    try:
        _raws.decode(text)
    except msgspec.DecodeError as error:
        return _end_in(error, text)
    return text.rfind(b"]") - 1


def _end_in(error: msgspec.DecodeError, text: bytes) -> int | None:
    """Return where the elements ended, from the complaint about what stands after the array."""
    found = _POSITION.search(str(error))
    return None if found is None else text.rfind(b"]", 0, int(found[1]) - 1) - 1


def elements(data: bytes) -> list[bytes]:
    """Return the elements of a block one by one, also where some are not quite JSON (NaN, say).

    Raises InvalidDataset where they cannot be told apart.
    """
    try:
        return [bytes(raw) for raw in _raws.decode(b"[" + data + b"]")]
    except msgspec.DecodeError:
        text = data.decode("utf-8", "surrogateescape")
    found: list[bytes] = []
    end = 0
    for start, end in _loose_elements(text):
        found.append(text[start:end].encode("utf-8", "surrogateescape"))
    if text[end:].strip():
        raise InvalidDataset(f"An entry is not JSON: {text[end : end + 80]!r}")
    return found


def places(data: bytes, count: int) -> list[tuple[int, int]]:
    """Return where each of the `count` elements of a block begins and ends."""
    if _WIDE.search(data) is None:
        parts = data.split(b"},{")
        if len(parts) == count:
            # The braces of a border belong to the elements, the comma to neither.
            ends = list(accumulate((len(part) + 3 for part in parts), initial=0))
            last = len(data)
            return [(max(0, begin - 1), min(end - 2, last)) for begin, end in pairwise(ends)]
    borders = [(match.start() + 1, match.end() - 1) for match in _BETWEEN.finditer(data)]
    if len(borders) == count - 1:
        return list(
            zip([0, *(end for _, end in borders)], [*(start for start, _ in borders), len(data)], strict=True)
        )
    # Such a border stands within an element too.
    found: list[tuple[int, int]] = []
    at = 0
    for element in elements(data):
        begin = data.find(element, at)
        at = begin + len(element)
        found.append((begin, at))
    return found


def _loose_elements(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each element begins and ends, up to the first that is broken or not whole."""
    decode = json.JSONDecoder().raw_decode
    at = 0
    while at < len(text):
        try:
            _, end = decode(text, at)
        except json.JSONDecodeError:
            return
        yield at, end
        rest = _COMMA.match(text, end)
        if rest is None:
            return
        at = rest.end()


def loose(data: bytes) -> Any:
    """Return what one element holds; NaN and Infinity are taken for the numbers that they are not, and bytes
    that are no text for the mark that stands for such.
    """
    try:
        return _any.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json.loads(data.decode("utf-8", "replace"))

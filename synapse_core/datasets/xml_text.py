"""XML of datasets: read without document types, written by formatting.

A document type can define entities that expand to gigabytes or read files; no dataset needs one, so a file
that has one is refused before a parser sees it.
"""

from __future__ import annotations

import codecs
import re
from xml.etree.ElementTree import Element, ParseError, XMLParser

_ENCODING = re.compile(
    rb"""\A(?:\xef\xbb\xbf)?\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']"""
)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_DOCUMENT_TYPE = "<!DOCTYPE"
# What XML 1.0 has no way to write.
_NO_CHARACTER = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_SPECIAL = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class InvalidXml(ValueError):
    """It is not XML, or has a document type; the message says which and where."""


def parse_xml(data: bytes) -> Element:
    """Return the root of an XML text. Raises InvalidXml."""
    text = _checked(data)
    parser = XMLParser()
    try:
        parser.feed(text)
        return parser.close()
    except (ParseError, ValueError) as error:
        raise InvalidXml(f"it is not XML: {error}") from error


def _checked(data: bytes) -> bytes | str:
    """Return a text in which a document type cannot hide. Raises InvalidXml where there is one."""
    text: bytes | str = data
    if data.startswith(_UTF16) or b"\0" in data[:64]:
        try:
            text = data.decode("utf-16")
        except UnicodeDecodeError as error:
            raise InvalidXml(f"it is not text: {error}") from error
        is_there = _DOCUMENT_TYPE in text or "<!ENTITY" in text
    else:
        if (stated := _ENCODING.match(data)) is not None:
            name = stated[1].decode()
            try:
                is_plain = _DOCUMENT_TYPE.encode(name) == _DOCUMENT_TYPE.encode()
            except (LookupError, UnicodeEncodeError):
                is_plain = False
            if not is_plain:
                raise InvalidXml(f"its encoding, {name}, is not one in which a dataset is written")
        is_there = b"<!DOCTYPE" in data or b"<!ENTITY" in data
    if is_there:
        raise InvalidXml("it has a document type (<!DOCTYPE or <!ENTITY), which is refused")
    return text


def escaped(text: str) -> str:
    """Return a text as the content of an element; what XML cannot hold becomes U+FFFD."""
    if _SPECIAL.search(text) is None:
        return text
    text = _NO_CHARACTER.sub("\ufffd", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def quoted(text: str) -> str:
    """Return a text as the value of an attribute, with its quotes."""
    return '"' + escaped(text).replace('"', "&quot;").replace("\n", "&#10;").replace("\t", "&#9;") + '"'


def text_of(element: Element, tag: str, default: str = "") -> str:
    """Return the text of an element's child, without the white space around it."""
    return (element.findtext(tag) or default).strip()


def value_of(text: str) -> bool | int | float | str:
    """Return what a text stands for, where it is written exactly as Python or XML would write that."""
    if text in ("true", "false", "True", "False"):
        return text in ("true", "True")
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue  # not of this kind
        if str(number) == text:
            return number
    return text

"""Which extensions belong to which type of file, and how files of known kinds begin."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

IMAGE = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif", ".heic", ".svg")
VIDEO = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")
AUDIO = (".wav", ".mp3", ".flac", ".ogg", ".m4a", ".aac", ".opus")
TEXT = (".txt", ".md", ".html", ".htm", ".srt", ".vtt")
PCD = (".pcd", ".ply", ".las", ".laz", ".xyz", ".pts")

# file type -> extensions; `data` takes every extension.
EXTENSIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"image": IMAGE, "video": VIDEO, "audio": AUDIO, "pcd": PCD, "text": TEXT, "data": ()}
)
# Names of files that run where they are opened.
PROGRAMS = frozenset(
    (
        *(
            ".exe",
            ".dll",
            ".so",
            ".dylib",
            ".com",
            ".scr",
            ".msi",
            ".sys",
            ".elf",
            ".app",
            ".apk",
            ".dex",
            ".jar",
            ".class",
            ".wasm",
            ".lnk",
            ".reg",
        ),
        *(
            ".bat",
            ".cmd",
            ".ps1",
            ".psm1",
            ".vbs",
            ".vbe",
            ".wsf",
            ".hta",
            ".js",
            ".mjs",
            ".jse",
            ".sh",
            ".bash",
            ".zsh",
            ".fish",
            ".csh",
        ),
        *(".py", ".pyc", ".pyw", ".rb", ".pl", ".php", ".phtml"),
    )
)
MARKUP = frozenset([".svg", ".html", ".htm", ".xhtml", ".xml"])

# (where, bytes) of which one must be there.
_Signs = tuple[tuple[int, bytes], ...]
_JPEG: _Signs = ((0, b"\xff\xd8\xff"),)
_TIFF: _Signs = ((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+"))
_BOXES: _Signs = ((4, b"ftyp"), (4, b"moov"), (4, b"mdat"), (4, b"wide"), (4, b"free"), (4, b"skip"))
_EBML: _Signs = ((0, b"\x1a\x45\xdf\xa3"),)
_MPEG: _Signs = ((0, b"\0\0\1"), (0, b"G"))
_ZIP: _Signs = ((0, b"PK\3\4"), (0, b"PK\5\6"))

SIGNATURES: Mapping[str, _Signs] = MappingProxyType(
    {
        ".jpg": _JPEG,
        ".jpeg": _JPEG,
        ".png": ((0, b"\x89PNG\r\n\x1a\n"),),
        ".bmp": ((0, b"BM"),),
        ".gif": ((0, b"GIF87a"), (0, b"GIF89a")),
        ".webp": ((8, b"WEBP"),),
        ".tif": _TIFF,
        ".tiff": _TIFF,
        ".avif": ((4, b"ftyp"),),
        ".heic": ((4, b"ftyp"),),
        ".mp4": _BOXES,
        ".m4v": _BOXES,
        ".m4a": _BOXES,
        ".mov": _BOXES,
        ".avi": ((8, b"AVI "),),
        ".mkv": _EBML,
        ".webm": _EBML,
        ".mpg": _MPEG,
        ".mpeg": _MPEG,
        ".wav": ((8, b"WAVE"),),
        ".flac": ((0, b"fLaC"), (0, b"ID3")),
        ".ogg": ((0, b"OggS"),),
        ".opus": ((0, b"OggS"),),
        ".ply": ((0, b"ply"),),
        ".las": ((0, b"LASF"),),
        ".laz": ((0, b"LASF"),),
        ".zip": _ZIP,
        ".xlsx": _ZIP,
        ".npz": _ZIP,
        ".npy": ((0, b"\x93NUMPY"),),
        ".pdf": ((0, b"%PDF-"),),
        ".gz": ((0, b"\x1f\x8b"),),
        ".parquet": ((0, b"PAR1"),),
    }
)
# How programs begin, whatever they are called.
PROGRAM_SIGNATURES = (
    (b"\x7fELF", "a Linux program"),
    (b"\xfe\xed\xfa\xce", "a macOS program"),
    (b"\xfe\xed\xfa\xcf", "a macOS program"),
    (b"\xce\xfa\xed\xfe", "a macOS program"),
    (b"\xcf\xfa\xed\xfe", "a macOS program"),
    (b"\xca\xfe\xba\xbe", "a Java class or a macOS program"),
    (b"\0asm", "a WebAssembly program"),
    (b"dex\n03", "an Android program"),
    (b"L\0\0\0\x01\x14\x02\0", "a Windows shortcut"),
    (b"#!", "a script"),
)


def type_of(extension: str) -> str:
    """Return the file type that an extension usually belongs to, `data` for all others."""
    return next((name for name, extensions in EXTENSIONS.items() if extension in extensions), "data")


def accepted_by(
    file_type: str, extensions: tuple[str, ...], allowed: Mapping[str, list[str]] | None
) -> frozenset[str] | None:
    """Return the extensions that a specification takes, None where it takes any.

    extensions: the specification's own. allowed: what the action allows, file type -> extensions.
    """
    own = frozenset(one.lower() for one in extensions) or frozenset(EXTENSIONS.get(file_type, ()))
    if allowed is None:
        return own or None
    permitted = frozenset(f".{one.lower().lstrip('.')}" for one in allowed.get(file_type, []))
    return own & permitted if own else permitted

"""A plugin's requirements, as Ray takes them to make a virtualenv for a job."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from synapse_core.enums import PackageManager
from synapse_core.errors import InvalidRequest
from synapse_core.run_folder import Packages

# What Ray itself passes where no options are given; to give some is to replace them.
_PIP_OPTIONS = ("--disable-pip-version-check", "--no-cache-dir")
_UV_OPTIONS = ("--no-cache",)
_INCLUDE = re.compile(r"(?:-r\s*|--requirement(?:\s+|=))(.+)")
_COMMENT = re.compile(r"(^|\s+)#.*$")


@dataclass
class _Wanted:
    """packages: what is to be installed, one requirement or path each. options: of the install command."""

    packages: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)


def packages_env(root: Path, packages: Packages, *, skip_satisfied: bool) -> dict[str, Any]:
    """Return the part of a runtime_env that installs a plugin's requirements; empty where there is nothing.

    It is made of the requirements file, a line that begins with '-' being an option for the installer, and of
    every wheel in the folder of wheels, in which the installer also looks for other packages.
    skip_satisfied: nothing is installed where everything is there already: a virtualenv costs 5 s and more.
    Raises InvalidRequest naming the file and the line that cannot be used, or the manager that is unknown.
    """
    if packages.manager not in list(PackageManager):
        raise InvalidRequest(
            f"There is no package manager {packages.manager!r}; there are {', '.join(PackageManager)}."
        )
    wanted = _Wanted()
    file = root / packages.requirements_file
    if file.is_file():
        _read(file, wanted, frozenset())
    elif packages.requirements_file != Packages().requirements_file:
        raise InvalidRequest(f"There is no requirements file {file}.")
    wheels = sorted((root / packages.wheels_dir).glob("*.whl"))
    if wheels:
        wanted.packages += [str(wheel) for wheel in wheels]
        wanted.options += ["--find-links", str(wheels[0].parent)]
    if skip_satisfied:
        wanted.packages = [package for package in wanted.packages if not _is_satisfied(package)]
    if not wanted.packages:
        return {}
    options = [*wanted.options, *packages.options]
    if packages.manager == PackageManager.UV:
        return {"uv": {"packages": wanted.packages, "uv_pip_install_options": [*_UV_OPTIONS, *options]}}
    return {"pip": {"packages": wanted.packages, "pip_install_options": [*_PIP_OPTIONS, *options]}}


def _read(file: Path, wanted: _Wanted, above: frozenset[Path]) -> None:
    """Add what a requirements file asks for, the files that it includes among it."""
    for number, line in _lines(file):
        if included := _INCLUDE.fullmatch(line):
            other = (file.parent / included[1].strip()).resolve()
            if other in above or not other.is_file():
                raise InvalidRequest(f"{file.name}:{number}: {other} is not there, or includes itself.")
            _read(other, wanted, above | {file.resolve()})
        elif line.startswith("-"):
            wanted.options += [_absolute(file, part) for part in shlex.split(line)]
        else:
            wanted.packages.append(_package(file, number, line))


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that say something, each with its number; one that ends in a backslash goes on."""
    begun = ""
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), start=1):
        begun += _COMMENT.sub("", line).strip()
        if begun.endswith("\\"):
            begun = begun[:-1].rstrip() + " "
        elif begun:
            yield number, begun
            begun = ""
    if begun.strip():
        yield number, begun.strip()


def _package(file: Path, number: int, line: str) -> str:
    """Return a requirement as it can be installed from anywhere."""
    if (beside := file.parent / line).exists():
        return str(beside.resolve())
    named, *options = re.split(r"\s+(?=--)", line)  # such as --hash, which belongs to its requirement
    try:
        Requirement(named)
    except InvalidRequirement as error:
        if "://" in line:
            return line
        raise InvalidRequest(
            f"{file.name}:{number}: {line!r} is no requirement: {str(error).splitlines()[0]}",
            hint=f"Correct {file}.",
        ) from error
    return " ".join([named, *options])


def _absolute(file: Path, part: str) -> str:
    """Return a part of an option; a path beside the file becomes one that holds anywhere."""
    option, equals, value = part.rpartition("=")
    if value and not value.startswith("-") and (beside := file.parent / value).exists():
        return f"{option}{equals}{beside.resolve()}"
    return part


def _is_satisfied(package: str) -> bool:
    """Return True where this very Python has a package already, or where it is not meant for it."""
    if package.endswith(".whl"):
        return _has_wheel(Path(package).name)
    try:
        requirement = Requirement(package)
    except InvalidRequirement:
        return False  # a folder or an address: nobody knows what is in it
    if requirement.url or (requirement.marker is not None and not requirement.marker.evaluate()):
        return not requirement.url
    return _has(requirement)


def _has(requirement: Requirement) -> bool:
    try:
        found = distribution(requirement.name)
    except PackageNotFoundError:
        return False
    if not requirement.specifier.contains(found.version, prereleases=True):
        return False
    return all(
        _has(needed)
        for extra in requirement.extras
        for needed in map(Requirement, found.requires or ())
        if needed.marker is not None
        and needed.marker.evaluate({"extra": extra})
        and not needed.marker.evaluate({"extra": ""})
    )


def _has_wheel(name: str) -> bool:
    try:
        project, version, _, _ = parse_wheel_filename(name)
        return distribution(project).version == str(version)
    except (InvalidWheelFilename, PackageNotFoundError):
        return False

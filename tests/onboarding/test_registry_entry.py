"""server.json: what the MCP registry is told is well-formed, and true of this package."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from synapse_mcp.settings import parse_arguments

ROOT = Path(__file__).resolve().parents[2]
ENTRY: dict[str, Any] = json.loads((ROOT / "server.json").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

_INPUT: dict[str, Any] = {
    "description": {"type": "string"},
    "default": {"type": "string"},
    "format": {"enum": ["string", "number", "boolean", "filepath"]},
    "isRequired": {"type": "boolean"},
    "isSecret": {"type": "boolean"},
}
# The documented fields of version 2025-12-11, as far as an entry for one package of PyPI may use them.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["$schema", "name", "description", "version", "packages"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"const": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"},
        "name": {"pattern": r"^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$", "minLength": 3, "maxLength": 200},
        "title": {"type": "string", "minLength": 1, "maxLength": 100},
        "description": {"type": "string", "minLength": 1, "maxLength": 100},
        "version": {"type": "string", "maxLength": 255},
        "websiteUrl": {"type": "string", "pattern": "^https://"},
        "repository": {"type": "object", "required": ["url", "source"]},
        "packages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["registryType", "identifier", "version", "transport"],
                "additionalProperties": False,
                "properties": {
                    "registryType": {"const": "pypi"},
                    "registryBaseUrl": {"const": "https://pypi.org"},
                    "identifier": {"type": "string"},
                    "version": {"type": "string", "not": {"const": "latest"}},
                    "runtimeHint": {"enum": ["uvx"]},
                    "transport": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {"type": {"const": "stdio"}},
                        "required": ["type"],
                    },
                    "packageArguments": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["type", "name"],
                            "additionalProperties": False,
                            "properties": {
                                "type": {"const": "named"},
                                "name": {"pattern": "^--[a-z-]+$"},
                                "isRepeated": {"type": "boolean"},
                                **_INPUT,
                            },
                        },
                    },
                    "environmentVariables": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["name"],
                            "additionalProperties": False,
                            "properties": {"name": {"pattern": "^[A-Z_]+$"}, **_INPUT},
                        },
                    },
                },
            },
        },
    },
}


def test_the_entry_has_the_documented_fields_and_no_other():
    jsonschema.validate(ENTRY, SCHEMA)


def test_the_entry_is_of_this_package_in_this_version():
    (package,) = ENTRY["packages"]

    assert (package["identifier"], package["version"]) == (PROJECT["name"], PROJECT["version"])
    assert ENTRY["version"] == PROJECT["version"]
    assert PROJECT["name"] in PROJECT["scripts"], "uvx starts the command that bears the package's name"


def test_the_readme_proves_that_the_package_is_the_entry_s():
    assert f"<!-- mcp-name: {ENTRY['name']} -->" in (ROOT / PROJECT["readme"]).read_text()


def test_the_arguments_are_those_of_the_server_and_the_variables_those_of_the_readme(
    capsys: pytest.CaptureFixture[str],
):
    (package,) = ENTRY["packages"]
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    options = re.findall(r"--[a-z-]+", capsys.readouterr().out)

    assert {argument["name"] for argument in package["packageArguments"]} <= set(options)
    readme = (ROOT / "README.md").read_text()
    assert all(f"`{variable['name']}`" in readme for variable in package["environmentVariables"])
    secret = {one["name"] for one in package["environmentVariables"] if one.get("isSecret")}
    assert secret == {one["name"] for one in package["environmentVariables"] if "TOKEN" in one["name"]}

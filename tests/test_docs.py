"""The manuals are true: what they name exists, what exists is named, and their examples run."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import shlex
import subprocess
import sys
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import mcp_types.version
import msgspec
import pytest
import typer
from test_architecture import LAYERS

import synapse_core
from synapse_core import environment, errors
from synapse_core.actions import AddTaskDataParams
from synapse_core.config import load_config
from synapse_core.datasets.conversion import ConversionResult
from synapse_core.datasets.formats import formats
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.report import CODES, HARMLESS
from synapse_core.executors import LocalExecutor
from synapse_core.profile import Profile
from synapse_core.registry import Registry
from synapse_mcp import cli
from synapse_mcp.boundary import compact_schema
from synapse_mcp.demo import ACCURACY_WANTED
from synapse_mcp.guides import guide, topics
from synapse_mcp.records import RunRecord
from synapse_mcp.server import build_server
from synapse_mcp.settings import Settings, parse_arguments
from synapse_mcp.switches import SWITCHES
from synapse_mcp.tools import TOOLS

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = {path.name: path.read_text() for path in sorted(ROOT.glob("*.md"))}
README, MANUAL, CONTRIBUTING = (DOCUMENTS[name] for name in ("README.md", "MCP.md", "CONTRIBUTING.md"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCES = {
    path: path.read_text()
    for package in ("synapse_core", "synapse_mcp")
    for path in sorted((ROOT / package).rglob("*.py"))
}


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def code_spans(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", without_blocks(text))


def section(text: str, title: str) -> str:
    """Return what stands below a heading, up to the next one of its rank or a higher one."""
    heading = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert heading, f"there is no heading {title!r}"
    rest = text[heading.end() :]
    end = re.search(rf"^#{{1,{len(heading[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def table(text: str) -> list[list[str]]:
    """Return the cells of the rows of the first table."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return rows[2:]


# Whatever the document


def test_the_four_manuals_are_there():
    assert {"README.md", "MCP.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= set(DOCUMENTS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_relative_link_leads_somewhere(name: str):
    targets = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", without_blocks(DOCUMENTS[name]))
    broken = []
    for target in targets:
        if target.startswith(("https://", "http://")):
            continue
        file, _, anchor = target.partition("#")
        path = ROOT / file if file else ROOT / name
        if not path.exists() or (anchor and anchor not in _anchors(path.read_text())):
            broken.append(target)

    assert broken == []


def _anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", without_blocks(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_python_examples_compile_and_json_examples_parse(name: str):
    for source in blocks(DOCUMENTS[name], "python"):
        compile(source, name, "exec")
    for source in blocks(DOCUMENTS[name], "json"):
        json.loads(source)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_manual_speaks_of_nothing_that_its_reader_does_not_have(name: str):
    strange = (
        r"(?i)(?<!--)\bseeds?\b|\bissues? (?:show|\d)|\bpypi\.org|\bpredecessor\b"
        r"|\barchitecture\.md\b|\bR\d{1,2}\b"
    )

    assert re.findall(strange, DOCUMENTS[name]) == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_fenced_block_has_a_language_and_an_end(name: str):
    fences = re.findall(r"^```(\w*)$", DOCUMENTS[name], re.MULTILINE)

    assert [bool(language) for language in fences] == [True, False] * (len(fences) // 2)


def test_the_version_is_told_once():
    assert PROJECT["version"] == synapse_core.__version__
    assert f"## [{synapse_core.__version__}]" in DOCUMENTS["CHANGELOG.md"]


# README: the two commands


def test_the_readme_begins_with_the_two_commands():
    run_demo, run_tests = (block.strip() for block in blocks(README, "sh")[:2])

    assert README.index(run_tests) < README.index("\n## ")
    assert (
        run_demo == 'python3 -m venv .venv && .venv/bin/pip install ".[demo]" && .venv/bin/synapse-mcp demo'
    )
    assert run_tests == (
        'python3 -m venv .venv && .venv/bin/pip install -e ".[test]" '
        "&& .venv/bin/python -m pytest -n auto --dist loadgroup"
    )


def test_the_checks_run_the_very_test_command_of_the_readme():
    command = blocks(README, "sh")[1].strip()
    script = (ROOT / ".ci" / "run").read_text().splitlines()

    assert f"test_command='{command}'" in script
    assert 'eval "$test_command"' in script


def test_the_commands_name_extras_and_a_program_that_exist():
    for extra in re.findall(r'install (?:-e )?"\.\[(\w+)\]"', README + CONTRIBUTING):
        assert extra in PROJECT["optional-dependencies"]
    assert PROJECT["scripts"] == {"synapse-mcp": "synapse_mcp.__main__:main"}


def test_what_the_demo_is_said_to_show_is_what_it_demands():
    assert f"at least {ACCURACY_WANTED}" in section(README, "What the demo shows")
    assert "1,797 scans" in section(README, "What the demo shows")


# README: the command line


def _commands() -> dict[str, Any]:
    """Return every command by its words, 'runs list' among them."""
    found: dict[str, Any] = {}

    def walk(group: Any, words: tuple[str, ...]) -> None:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                walk(command, (*words, name))
            else:
                found[" ".join((*words, name))] = command

    walk(typer.main.get_command(cli.app), ())
    return found


def _server_options(capsys: pytest.CaptureFixture[str]) -> set[str]:
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    return set(re.findall(r"--?[a-z][\w-]*", capsys.readouterr().out))


def _service_options() -> set[str]:
    command = [sys.executable, "-m", "synapse_core.backend.service", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"--[a-z][\w-]*", told))


def _calls(text: str) -> Iterator[list[str]]:
    """Yield the arguments of every `synapse-mcp …` in code."""
    for code in (*code_spans(text), *(line for block in blocks(text, "sh") for line in block.splitlines())):
        for part in code.split("&&"):
            words = shlex.split(part)
            if words and Path(words[0]).name == "synapse-mcp":
                yield words[1:]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_and_option_that_is_named_exists(name: str, capsys: pytest.CaptureFixture[str]):
    commands = _commands()
    server_options = _server_options(capsys)
    for words in _calls(DOCUMENTS[name]):
        command = next((known for known in commands if words[: len(known.split())] == known.split()), None)
        if command is None:
            assert not words or words[0].startswith("-"), f"no command: {words}"
            known_options = server_options
        else:
            known_options = {option for one in commands[command].params for option in one.opts}
        options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert options <= known_options, words


def test_options_that_are_named_alone_exist(capsys: pytest.CaptureFixture[str]):
    known = _server_options(capsys) | _service_options()
    known |= {
        option
        for command in _commands().values()
        for parameter in command.params
        for option in parameter.opts
    }
    named = {span.split()[0] for span in code_spans(README) if span.startswith("--")}

    assert named
    assert named <= known


def test_every_command_is_in_the_readme():
    named = [words for words in _calls(README) if words]

    assert [
        command
        for command in _commands()
        if not any(words[: len(command.split())] == command.split() for words in named)
    ] == []


def test_every_option_of_a_command_is_in_the_readme():
    told = section(README, "The command line")
    options = {
        option
        for command in _commands().values()
        for parameter in command.params
        if parameter.param_type_name == "option"
        for option in parameter.opts
        if option.startswith("--")
    }

    assert {option for option in options if option not in told} - {"--param"} == set()


# README: the plugin


@pytest.fixture
def word_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The README's plugin, as a reader would write it down."""
    root = tmp_path / "my_plugins" / "word_count"
    root.mkdir(parents=True)
    chapter = section(README, "Write a plugin")
    (root / "config.yaml").write_text(blocks(chapter, "yaml")[0])
    (root / "word_count.py").write_text(blocks(chapter, "python")[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "word_count", raising=False)
    return root


WORDS = {"text": "to be or not to be"}
COUNTED = {"to": 2, "be": 2, "or": 1}


def test_the_config_of_the_example_loads_without_a_complaint(word_count: Path):
    assert load_config(word_count).issues == ()


def test_the_action_of_the_example_has_twenty_lines(word_count: Path):
    assert len((word_count / "word_count.py").read_text().splitlines()) <= 20


def test_the_example_runs(word_count: Path):
    assert LocalExecutor(working_dir=word_count).execute("count", WORDS) == COUNTED


def test_the_example_is_described_without_a_complaint(word_count: Path, home: Path):
    registry = Registry([word_count.parent], home / "cache")
    try:
        assert registry.describe("word_count").issues == ()
    finally:
        registry.close()


def test_the_script_of_the_example_prints_the_result(
    word_count: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    exec(compile(blocks(section(README, "Write a plugin"), "python")[1], "README.md", "exec"), {})

    assert ast.literal_eval(capsys.readouterr().out) == COUNTED


def test_the_command_of_the_example_runs_it(word_count: Path):
    (command,) = blocks(section(README, "Write a plugin"), "sh")
    program, *arguments = shlex.split(command)

    assert program == "synapse-mcp"
    done = subprocess.run(
        [sys.executable, "-m", "synapse_mcp", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"to": 2' in done.stdout


# README: pipelines


def test_the_script_of_the_pipeline_watches_it_and_prints_the_result(
    word_count: Path, capsys: pytest.CaptureFixture[str]
):
    exec(compile(blocks(section(README, "Pipelines"), "python")[0], "README.md", "exec"), {})

    assert ast.literal_eval(capsys.readouterr().out.splitlines()[-1]) == {"some": COUNTED, "best": {"to": 2}}


def test_the_command_of_the_pipeline_runs_it(tmp_path: Path):
    # The second one brings up a deployment, which tests on Ray do.
    command, _ = blocks(section(README, "Pipelines"), "sh")

    done = subprocess.run(
        [sys.executable, "-m", "synapse_mcp", *shlex.split(command)[1:]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"macro_f1"' in done.stdout
    assert "2 of 2 actions" in done.stdout


# README: runs and settings


def test_the_files_of_a_run_are_those_that_the_folder_has():
    sources = ("run_folder.py", "answers.py")
    source = "".join((ROOT / "synapse_core" / name).read_text() for name in sources)
    written = set(re.findall(r'"([a-z]+\.(?:jsonl?|log)|artifacts|actions|shared|answers)"', source))
    told = {row[0].strip("`").rstrip("/") for row in table(section(README, "How runs work"))}

    assert told == written


def test_every_variable_of_ours_is_in_the_table_and_the_code_knows_each_of_it():
    name = r"\bSYNAPSE_[A-Z]+(?:_[A-Z]+)*\b"
    used = {found for source in SOURCES.values() for found in re.findall(name, source)}
    used |= {switch.variable for switch in SWITCHES}
    told = {found for row in table(section(README, "Settings")) for found in re.findall(name, row[0])}

    assert told == used


def test_no_manual_names_another_variable_of_ours():
    told = set(re.findall(r"\bSYNAPSE_[A-Z_]*[A-Z]\b", "".join(DOCUMENTS.values())))
    told -= {name for name in told if name.startswith(("SYNAPSE_BENCH_", "SYNAPSE_TEST_"))}

    assert told <= {name for row in table(section(README, "Settings")) for name in code_spans(row[0])}


def test_what_a_run_inherits_is_told_completely():
    chapter = section(README, "Settings")
    told = set(code_spans(chapter[chapter.index("A run does not see") :])) - {"config.yaml", "env"}
    passed = environment._PASSED_NAMES | {f"{prefix}*" for prefix in environment._PASSED_PREFIXES}

    assert told == passed


# MCP.md


def _tools() -> dict[str, dict[str, Any]]:
    """Return the input schema of every tool with all its limits, some of which clients are not shown."""
    server = build_server(Settings.make(toolsets="all"))
    models = {
        spec.handler.__name__: server._tool_manager.get_tool(spec.handler.__name__).fn_metadata.arg_model
        for spec in TOOLS
    }
    return {name: compact_schema(model.model_json_schema(by_alias=True)) for name, model in models.items()}


def _type_in_words(schema: dict[str, Any]) -> str:
    kind: str = schema["type"]
    low, high = schema.get("minimum"), schema.get("maximum")
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    if low is not None and high is not None:
        return f"{kind}, {low} to {high}"
    if low is not None:
        return f"{kind}, at least {low}"
    if "exclusiveMinimum" in schema:
        return f"{kind}, above {schema['exclusiveMinimum']}"
    return f"{kind}, at most {schema['maxLength']} characters" if "maxLength" in schema else kind


def _default_in_words(name: str, schema: dict[str, Any]) -> str:
    if name in schema.get("required", ()):
        return "required"
    default = schema["properties"][name].get("default")
    if default is None:
        return "none"
    return f"`{default}`" if isinstance(default, str) else f"`{json.dumps(default)}`"


def test_every_reason_code_is_in_the_readme_with_what_it_says():
    rows = table(section(README, "Reason codes"))

    assert rows == [[f"`{code}`", says, "no" if code in HARMLESS else "yes"] for code, says in CODES.items()]


def test_the_manual_has_the_tools_in_their_order():
    told = re.findall(r"^### `(\w+)`$", section(MANUAL, "Tools"), re.MULTILINE)

    assert told == [spec.handler.__name__ for spec in TOOLS]


@pytest.mark.parametrize("tool", [spec.handler.__name__ for spec in TOOLS])
def test_the_manual_tells_every_argument_with_its_type_and_default(tool: str):
    schema = _tools()[tool]
    rows = [row[:3] for row in table(section(MANUAL, f"`{tool}`"))]

    assert rows == [
        [f"`{name}`", _type_in_words(field), _default_in_words(name, schema)]
        for name, field in schema.get("properties", {}).items()
    ]


def _records_of(handler: Any) -> list[type[msgspec.Struct]]:
    """Return the record types that a tool may answer with."""
    told = typing.get_type_hints(handler)["return"]
    return [one for one in (typing.get_args(told) or (told,)) if _is_record(one)]


def _is_record(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, msgspec.Struct)


def _fields_of(record: type[msgspec.Struct]) -> Iterator[str]:
    """Yield the names of a record's fields, and those of the records inside it."""
    for field in msgspec.structs.fields(record):
        yield field.name
        for inner in (field.type, *typing.get_args(field.type)):
            if _is_record(inner):
                yield from _fields_of(inner)


@pytest.mark.parametrize("spec", TOOLS, ids=lambda spec: spec.handler.__name__)
def test_the_manual_tells_every_field_of_an_answer(spec: Any):
    told = set(code_spans(section(MANUAL, f"`{spec.handler.__name__}`")))
    of_a_run = set(code_spans(section(MANUAL, "The record of a run")))
    for record in _records_of(spec.handler):
        missing = set(_fields_of(record)) - (of_a_run if record is RunRecord else told)
        assert missing == set(), record.__name__


@pytest.mark.parametrize("spec", TOOLS, ids=lambda spec: spec.handler.__name__)
def test_every_record_ends_with_the_next_call_and_never_leaves_it_out(spec: Any):
    for record in _records_of(spec.handler):
        last = msgspec.structs.fields(record)[-1]
        assert (last.name, last.required) == ("next", True), record.__name__


def test_the_record_of_a_run_is_told_in_its_order():
    rows = table(section(MANUAL, "The record of a run"))
    told = [name for row in rows for name in code_spans(row[0])]

    assert told == [field.name for field in msgspec.structs.fields(RunRecord)]


def test_the_manual_names_nothing_that_does_not_exist():
    """Every name with an underscore is a tool, an argument, a field, an error, or a plugin of ours."""
    schemas = _tools()
    known = {*schemas, *(name for schema in schemas.values() for name in schema.get("properties", {}))}
    known |= {
        value
        for schema in schemas.values()
        for argument in schema.get("properties", {}).values()
        for value in argument.get("enum", ())
    }
    known |= {field for spec in TOOLS for record in _records_of(spec.handler) for field in _fields_of(record)}
    known |= _codes() | {"num_cpus", "num_gpus"} | set(ConvertOptions.__struct_fields__)
    known |= set(topics())
    told = {span for span in code_spans(MANUAL) if re.fullmatch(r"[a-z]+(?:_[a-z]+)+", span)}

    assert told <= known


def _codes() -> set[str]:
    """Return every code that an error or a failed run can bear."""
    classes = {
        kind.code
        for kind in vars(errors).values()
        if inspect.isclass(kind) and issubclass(kind, errors.SynapseError | errors.RunStopped)
    }
    pattern = r'(?:code|cause)=(?:\w+\.\w+ or )?"([a-z_]+)"|\bfailure\(\s*"([a-z_]+)"|Failure\(\s*"([a-z_]+)"'
    written = {
        code for source in SOURCES.values() for found in re.findall(pattern, source) for code in found if code
    }
    return classes | written


def test_the_manual_tells_every_error_and_no_other():
    told = {code for row in table(section(MANUAL, "Errors")) for code in code_spans(row[0])}

    assert told == _codes()


def test_the_tree_in_errors_is_the_tree_of_the_classes():
    drawn = dict(re.findall(r"^[ │├└─]*(\w+)\*? {2,}(\w+|\()", errors.__doc__ or "", re.MULTILINE))
    classes = {
        name: kind.code
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.SynapseError | errors.RunStopped)
    }

    assert set(drawn) == set(classes)
    assert {name: code for name, code in drawn.items() if code not in ("(", classes[name])} == {}


def test_the_protocol_versions_are_those_of_the_library():
    told = re.findall(r"`(20\d\d-\d\d-\d\d)`", section(MANUAL, "Protocol"))

    assert told == [
        *mcp_types.version.MODERN_PROTOCOL_VERSIONS,
        *mcp_types.version.HANDSHAKE_PROTOCOL_VERSIONS,
    ]


def test_the_formats_are_those_that_are_told():
    rows = table(section(README, "Datasets"))
    told = {name: (row[2], row[3]) for row in rows for name in code_spans(row[0])}

    assert told == {known.name: ("yes", "yes" if known.write else "no") for known in formats()}


async def _offered() -> tuple[set[str], dict[str, set[str]]]:
    server = build_server(Settings.make())
    resources = {str(resource.uri) for resource in await server.list_resources()}
    resources |= {template.uri_template for template in await server.list_resource_templates()}
    prompts = {
        prompt.name: {argument.name for argument in prompt.arguments or ()}
        for prompt in await server.list_prompts()
    }
    return resources, prompts


def test_the_resources_and_prompts_are_those_that_are_told():
    rows = table(section(MANUAL, "Protocol"))
    told = {spans[0]: set(code_spans(row[1])) for row in rows if (spans := code_spans(row[0]))}
    resources, prompts = anyio.run(_offered)

    assert {name for name in told if "://" in name} == resources
    assert {name: found for name, found in told.items() if name in prompts} == prompts


@pytest.mark.parametrize("topic", topics())
def test_a_guide_is_short_and_names_only_what_there_is(topic: str):
    text = guide(topic)
    schemas = _tools()
    known = {name for schema in schemas.values() for name in schema.get("properties", {})}

    assert len(text.encode()) <= 1_536
    for tool, arguments in re.findall(r"`(\w+)\(([^)`]*)\)`", text):
        names = {argument.partition("=")[0].strip() for argument in arguments.split(",")}
        assert names <= set(schemas[tool]["properties"]), tool
    told = {span for span in code_spans(text) if re.fullmatch(r"[a-z]+(?:_[a-z]+)+", span)}
    options = set(ConvertOptions.__struct_fields__)
    settings = {field.name for field in dataclasses.fields(Profile)}
    params = set(AddTaskDataParams.model_fields)
    assert told <= {*schemas, *known, *options, *settings, *params, *ConversionResult.__struct_fields__}


# CONTRIBUTING.md


def test_the_layers_are_those_that_are_enforced():
    rows = table(section(CONTRIBUTING, "The layers"))

    assert {int(line): tuple(code_spans(modules)) for line, modules in rows} == LAYERS


def test_the_recipes_name_what_is_there():
    named = re.findall(r"`((?:tests|synapse_core|synapse_mcp|runs|executors)/[\w./]+)`", CONTRIBUTING)
    bases = (ROOT, ROOT / "synapse_core")

    assert named
    assert [
        path
        for path in named
        if not any((base / path).exists() or (base / f"{path}.py").exists() for base in bases)
    ] == []

"""The rules of the house that a machine can check, by reading the sources: who may import whom, and what must
not exist. CONTRIBUTING.md tells the same rules in words.
"""

from __future__ import annotations

import ast
import graphlib
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from synapse_core import _HOMES

ROOT = Path(__file__).resolve().parents[1]

# A module imports from the lines above its own; on its own line, from inside its own package and from what
# stands left of it. `__init__` is synapse_core itself, which knows where every public name lives.
LAYERS: dict[int, tuple[str, ...]] = {
    1: ("errors", "enums", "plain_text", "yaml_lines", "decoding", "processes"),
    2: ("types", "events", "schemas", "archives", "run_folder", "run_ending", "answers", "forms"),
    3: ("database",),
    4: ("datasets", "storage"),
    5: ("backend",),
    6: ("environment", "profile", "backend_choice", "stop", "loggers", "questions", "context", "tracing"),
    7: ("steps",),
    8: ("params", "base_action"),
    9: ("decorators", "integrations", "actions"),
    10: ("config",),
    11: ("discovery", "config_request", "scaffold"),
    12: ("worker", "supervisor", "describe"),
    13: ("executors", "deployments"),
    14: ("plugin_child", "publishing", "releases", "registry"),
    15: ("runs",),
    16: ("models", "home", "runner", "pipelines", "__init__"),
    17: ("synapse_mcp",),
}
# What a plugin may use of synapse_core.
LAST_LINE_FOR_PLUGINS = 9

# Names that were promised below the line on which they stand, looked up when they are first used:
# (where they were promised, where they are) -> why.
PROMISED_BELOW = {
    ("synapse_core.executors.ray", "synapse_core.pipelines.executor"): "RayPipelineExecutor makes runs",
    ("synapse_core.actions.inference", "synapse_core.deployments.action"): "it deploys on the cluster",
    (
        "synapse_core.actions.inference.deployment",
        "synapse_core.deployments.action",
    ): "it deploys on the cluster",
}

# Where a third-party package may be imported; a name stands for itself and all that is below it.
FENCES: dict[str, tuple[str, ...]] = {
    "mcp": ("synapse_mcp",),
    "mcp_types": ("synapse_mcp",),
    "anyio": ("synapse_core.runs", "synapse_mcp"),
    "ray": (
        "synapse_core.executors.ray",
        "synapse_core.datasets.dividing",
        "synapse_core.actions.inference.serve",
        "synapse_core.deployments.replica",
    ),
    "jwt": ("synapse_core.actions.inference.model_token",),
    "grpc": ("synapse_core.executors.ray",),
    "packaging": ("synapse_core.executors.ray.requirements",),
    "sqlalchemy": ("synapse_core.database", "synapse_core.runs.store", "synapse_core.backend"),
    "pathspec": ("synapse_core.publishing",),
    "httpx": (
        "synapse_core.storage.http",
        "synapse_core.backend",
        "synapse_core.deployments.calls",
        "synapse_core.deployments.rollout",
    ),
    "fastapi": ("synapse_core.backend.service", "synapse_core.actions.inference"),
    "starlette": (
        "synapse_core.backend.service",
        "synapse_core.actions.inference.ingress",
        "synapse_mcp.dashboard",
        "synapse_mcp.http",
    ),
    "uvicorn": ("synapse_core.backend.service", "synapse_mcp.dashboard", "synapse_mcp.http.serving"),
    "yaml": ("synapse_core.yaml_lines",),
    "regex": ("synapse_core.runs.log",),
    "fsspec": ("synapse_core.datasets.source", "synapse_core.storage.memory"),
    "s3fs": ("synapse_core.storage.s3",),
    "botocore": ("synapse_core.storage.s3",),
    "google": ("synapse_core.storage.gcs",),
    "requests": ("synapse_core.storage.gcs",),
    "paramiko": ("synapse_core.storage.sftp",),
    "numpy": (
        "synapse_core.datasets.formats.coco_panoptic",
        "synapse_core.datasets.masks",
        "synapse_core.datasets.png_mask",
        "synapse_core.datasets.rle",
    ),
    "openpyxl": ("synapse_core.actions.upload.metadata",),
    "sklearn": ("synapse_mcp.digit_sheets",),
    "PIL": (
        "synapse_mcp.digit_sheets",
        "synapse_core.datasets.drawing",
        "synapse_core.datasets.image_size",
        "synapse_core.datasets.lettering",
        "synapse_core.datasets.pictures",
        "synapse_core.datasets.png_mask",
        "synapse_core.datasets.preview",
    ),
    "matplotlib": ("synapse_mcp.plot_child",),
    "platformdirs": ("synapse_core.environment",),
    "typer": (
        "synapse_mcp.cli",
        "synapse_mcp.cli_dashboard",
        "synapse_mcp.cli_datasets",
        "synapse_mcp.cli_install",
        "synapse_mcp.cli_plugins",
    ),
    "tomlkit": ("synapse_mcp.client_config",),
    "rich": (
        "synapse_mcp.cli",
        "synapse_mcp.cli_datasets",
        "synapse_mcp.cli_text",
        "synapse_mcp.demo",
        "synapse_core.pipelines.display",
    ),
    "opentelemetry": ("synapse_core.tracing", "synapse_mcp.tracing"),
    "pydantic": ("synapse_core", "synapse_mcp"),
    "pydantic_core": ("synapse_core", "synapse_mcp"),
    "msgspec": ("synapse_core", "synapse_mcp"),
}
# Packages that are known to pyproject.toml by another name, or come with another one.
COMES_WITH = {
    "yaml": "pyyaml",
    "jwt": "pyjwt",
    "mcp_types": "mcp",
    "grpc": "ray",
    "PIL": "pillow",
    "pydantic_core": "pydantic",
    "sklearn": "scikit-learn",
    "botocore": "s3fs",
    "google": "google-cloud-storage",
    "opentelemetry": "opentelemetry-sdk",
    "requests": "google-cloud-storage",
}
# Extras of pyproject.toml whose packages a module of ours imports; it says what to install without them.
EXTRAS = ("demo", "excel", "s3", "gcs", "sftp", "plot", "otel")
# Starting a server, a supervisor or a script must not wait for these.
HEAVY = ("ray", "numpy", "fastapi", "sqlalchemy", "matplotlib")

# module:function -> why it may catch whatever comes.
BROAD_HANDLERS = {
    "synapse_core.worker:run_request": "the worker body: every failure becomes a terminal event",
    "synapse_core.executors.local:LocalExecutor.execute": "the seam to foreign code: one kind of error",
    "synapse_core.steps.orchestrator:Orchestrator._run_all": "rolls back, then raises it again",
    "synapse_core.steps.orchestrator:Orchestrator._run_step": "a step is foreign code",
    "synapse_core.steps.orchestrator:Orchestrator._roll_back": "one rollback must not keep the others back",
    "synapse_core.actions.train.action:BaseTrainAction.run": "deletes what was made, then raises it again",
    "synapse_core.actions.inference.serve:BaseServeDeployment._infer_alone": "a plugin's model: one fails",
    "synapse_core.actions.inference.serve:BaseServeDeployment._load": "a plugin's code: a ModelLoadError",
    "synapse_core.actions.inference.ingress:build_app": "a plugin's model: its sender is told",
    "synapse_core.backend.service.keys:Keys.once": "who waits for the same call gets its error too",
    "synapse_core.base_action:BaseAction.check_result": "a result model's validators are foreign code",
    "synapse_core.discovery:load_action": "importing a plugin is running foreign code",
    "synapse_core.describe:answer": "a parameter model's validators are foreign code",
    "synapse_core.describe:_schema": "a parameter model's schema hooks are foreign code",
    "synapse_core.actions.add_task_data.context:outcome_of": "a plugin's hooks: one task fails, not the rest",
    "synapse_core.actions.add_task_data.inference_steps:_infer": "a plugin's model: tried task by task",
    "synapse_core.actions.export.items:convert_item": "a plugin's hooks: one item fails, not the export",
    "synapse_core.actions.export.saving:Saving._named": "a plugin's hook: the item gets another name",
    "synapse_core.actions.export.saving:Saving._save": "a plugin's hooks: one item fails, not the export",
    "synapse_core.executors.ray.head:LocalHead._launch": "ends what was begun, then raises it again",
    "synapse_core.scaffold.writing:put_action": "takes back what was begun, then raises it again",
    "synapse_core.datasets.part_processes:results_of": "raised again in the process that asked for the part",
    "synapse_mcp.boundary:_answering": "the boundary: a crash reaches the agent as a failure",
    "synapse_mcp.http.probes:_is_ready": "a probe gets an answer, whatever keeps the records shut",
    "synapse_mcp.subscriptions:Watches._watch": "a watch that fails ends, and the server goes on",
    "synapse_mcp.wire:serve_stdio": "gives the process its time to end, then raises it again",
}

# Module-level objects that are neither plain constants nor definitions. Tables are written once, where they
# stand, or by the one function that is named; the rest is made once and never changed.
NAMED_OBJECTS = {
    "synapse_core._HOMES": "table: public name -> module",
    "synapse_core.actions._HOMES": "table: public name -> module",
    "synapse_core.actions.dataset_download._CATEGORY": "table: name of a split -> category",
    "synapse_core.actions.dataset_download._FOLDER": "table: category -> folder",
    "synapse_core.actions.export.targets._HANDLERS": "table: what can be exported -> how it is read",
    "synapse_core.integrations._MODULES": "table: framework -> module",
    "synapse_core.integrations.ultralytics._ABOUT": "table: letter -> what it says of a metric",
    "synapse_core.backend.service.routes.LISTS": "table: address -> call that gives a list",
    "synapse_core.backend.service.routes.ROUTES": "table: the REST API",
    "synapse_core.base_action._integrations": "table: framework -> integration",
    "synapse_core.decoding._preparing": "lock: one class is prepared at a time",
    "synapse_core.config._WANTED": "table: words for pydantic's findings",
    "synapse_core.datasets._HOMES": "table: public name -> module",
    "synapse_core.datasets.formats._ALIASES": "table: other name -> format",
    "synapse_core.datasets.formats._MODULES": "table: format -> module",
    "synapse_core.datasets.formats.dm_documents._EDITOR": "table: what a new annotation of version 1 has",
    "synapse_core.datasets.formats.dm_documents._TOOLS": "table: other name -> tool",
    "synapse_core.datasets.formats.dm_layout.SPLITS": "table: folder -> split",
    "synapse_core.datasets.formats.dm_rows._VISIBILITY": "table: word -> number",
    "synapse_core.datasets.formats.dm_tools.KINDS": "table: tool -> kind of annotation",
    "synapse_core.datasets.formats.coco_boxes._RECORD": "how an annotation is packed",
    "synapse_core.datasets.formats.coco_boxes._RING_SHAPE": "the shape that was not looked into",
    "synapse_core.datasets.formats.coco_index._IMAGES": "what decodes images",
    "synapse_core.datasets.formats.coco_spans._ROWS": "what decodes annotations",
    "synapse_core.datasets.formats.coco_spans._SIGNS": "table: kind of annotation -> what shows it",
    "synapse_core.datasets.formats.coco_rows._KNOWN": "the fields of a row",
    "synapse_core.datasets.formats.cvat_shapes.KIND_OF_TAG": "table: tag -> kind of annotation",
    "synapse_core.datasets.formats.label_studio_regions._KINDS": "table: type -> kind of annotation",
    "synapse_core.datasets.formats.open_images._FLAGS": "table: column -> attribute",
    "synapse_core.datasets.formats.open_images_write._HEADS": "table: what a file is about -> its columns",
    "synapse_core.datasets.formats.labelme_shapes._KINDS": "table: shape type -> kind of annotation",
    "synapse_core.datasets.formats.upright.TO_BOX": "table: kind -> what its box loses",
    "synapse_core.datasets.formats.voc_text._KNOWN_OF_IMAGE": "the fields of an image",
    "synapse_core.datasets.formats.voc_text._KNOWN_OF_OBJECT": "the fields of an object",
    "synapse_core.datasets.formats.voc_text._LAYOUTS": "table: patterns of the usual layouts",
    "synapse_core.datasets.checking._TO_COUNTS": "table: encoding of a mask -> what reads it",
    "synapse_core.datasets.formats.yolo._KINDS": "table: task -> kinds of annotation",
    "synapse_core.datasets.formats.yolo._USUAL_KIND": "table: task -> kind of a row that cannot be read",
    "synapse_core.datasets.model._KIND_OF_SHAPE": "table: shape -> kind of annotation",
    "synapse_core.datasets.report.CODES": "table: reason code -> what it says",
    "synapse_core.datasets.splits.SPLIT_NAMES": "table: other name -> split",
    "synapse_core.datasets.formats.dm_write._FOLDERS": "table: split -> folder",
    "synapse_core.database.metadata": "the schema of the database",
    "synapse_core.database.runs": "the one table of the database",
    "synapse_core.enums._LEVEL_RANKS": "table: log level -> rank",
    "synapse_core.enums._METHOD_BY_ACTION": "table: action name -> usual method",
    "synapse_core.executors.ray.connection.connection": "the lock of Ray's one connection in a process",
    "synapse_core.runs.store._GET": "statement, built once",
    "synapse_core.runs.store._INSERT": "statement, built once",
    "synapse_core.runs.store._SAVE": "statement, built once",
    "synapse_core.run_ending._CRASHES": "table: signal -> words",
    "synapse_core.pipelines.action_run._STATES": "table: state of a run -> state of an action",
    "synapse_core.runs.run._CHANGES": "table: event kind -> what it changes",
    "synapse_core.runs.standing._CHANGES": "table: event kind -> what it changes in a progress",
    "synapse_core.storage.gcs._RETRY": "how long Google's store is asked again, built once",
    "synapse_core.storage.providers._ALIASES": "table: other name -> storage provider",
    "synapse_core.storage.providers._MODULES": "table: storage provider -> module",
    "synapse_core.storage.providers._REGISTERED": "table: storage provider of a program -> what makes it",
    "synapse_core.storage.translation._HINTS": "table: kind of error -> what to do",
    "synapse_core.yaml_lines._SYNTAX_HINTS": "table: YAML's complaint -> what to do",
    "synapse_mcp.cli.app": "the command line",
    "synapse_mcp.cli_dashboard.app": "the command `dashboard`",
    "synapse_mcp.cli_datasets.app": "the commands about datasets",
    "synapse_mcp.cli_install.app": "the command that tells clients of the server",
    "synapse_mcp.client_config.CLIENTS": "table: name of a client -> what is known of it",
    "synapse_mcp.client_config._USER_FILES": "table: name of a client -> the file of its user",
    "synapse_mcp.cli_plugins.app": "the commands about plugins",
    "synapse_mcp.cli_text.console": "the command line's output",
    "synapse_mcp.cli_text.errors": "its complaints",
    "synapse_mcp.cli.ray_app": "the commands below `ray`",
    "synapse_mcp.cli.runs_app": "the commands below `runs`",
    "synapse_mcp.switches.SWITCHES": "table: the switches of the server",
    "synapse_mcp.completions.SOURCES": "table: argument -> where its values come from",
    "synapse_mcp.resources.RESOURCES": "table: the resources",
    "synapse_mcp.skills.SKILLS": "table: skill -> when to use it",
    "synapse_mcp.masking._SHAPES": "table: what a kind of secret looks like",
    "synapse_mcp.masking._SIGNS": "table: what is in the texts that a shape is looked for in",
    "synapse_mcp.masking._SIGNS_OF_QUERIES": "table: what shows a secret in an address",
    "synapse_mcp.tools.TOOLS": "table: the tools",
}
WRITTEN_BY = {
    "synapse_core.actions.export.targets._HANDLERS": (
        "synapse_core.actions.export.targets:register_target_handler"
    ),
    "synapse_core.base_action._integrations": "synapse_core.base_action:register_integration",
    "synapse_core.storage.providers._REGISTERED": "synapse_core.storage.providers:register_provider",
}

# Calls that may stand in these modules only, because one place has to be in charge.
ONE_PLACE = {
    "RuntimeContext": ("synapse_core.worker", "synapse_core.executors.local"),
    "Succeeded": ("synapse_core.worker",),
    "Failed": ("synapse_core.worker", "synapse_core.run_ending", "synapse_core.runs.reconcile"),
    "Run": ("synapse_core.runs.beginning",),
    "is_lost": ("synapse_core.runs.reconcile",),
    "CallToolResult": ("synapse_mcp.boundary",),
    "create_engine": ("synapse_core.database",),
    "import_module": (
        "synapse_core",
        "synapse_core.actions",
        "synapse_core.base_action",
        "synapse_core.integrations",
        "synapse_core.integrations.ultralytics",
        "synapse_core.datasets",
        "synapse_core.datasets.formats",
        "synapse_core.deployments.replica",
        "synapse_core.discovery",
        "synapse_core.executors.ray.cluster",
        "synapse_core.executors.ray.connection",
        "synapse_core.storage.providers",
    ),
}

# Names of the public API that sound like what must not be.
NAMES_TO_KEEP = {"PackageManager": "what installs packages: pip or uv"}

MAY_PRINT = ("synapse_mcp.cli", "synapse_mcp.demo")
# Ray's private modules that are in use, and why there is no other way.
PRIVATE_RAY = {
    "ray._raylet": "Ray reads its token once, at its import, and has no public way to read it again",
}
MOST_LINES = 400


@dataclass(frozen=True)
class Module:
    """One source file. name: as it is imported; of a plugin's file, its path with dots."""

    name: str
    path: Path

    @cached_property
    def source(self) -> str:
        return self.path.read_text()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def comment_lines(self) -> set[int]:
        tokens = tokenize.generate_tokens(io.StringIO(self.source).readline)
        return {token.start[0] for token in tokens if token.type == tokenize.COMMENT}

    @cached_property
    def only_for_types(self) -> set[ast.AST]:
        """What stands below `if TYPE_CHECKING:`."""
        return {
            node
            for block in ast.walk(self.tree)
            if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
            for statement in block.body
            for node in ast.walk(statement)
        }

    def run_time_imports(self) -> Iterator[ast.Import | ast.ImportFrom]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import | ast.ImportFrom) and node not in self.only_for_types:
                yield node

    def imported_names(self) -> Iterator[tuple[int, str]]:
        """Yield (line, dotted name) of everything that is imported when the module runs."""
        for node in self.run_time_imports():
            for alias in node.names:
                whole = alias.name if isinstance(node, ast.Import) else f"{node.module}.{alias.name}"
                yield node.lineno, whole

    def owners(self) -> Iterator[tuple[str, ast.AST]]:
        """Yield every node together with the function or method around it, '' at the top."""

        def walk(node: ast.AST, owner: str) -> Iterator[tuple[str, ast.AST]]:
            for child in ast.iter_child_nodes(node):
                named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                # A function inside a function belongs to the outer one.
                inside = owner and not isinstance(node, ast.ClassDef)
                name = f"{owner}.{child.name}".lstrip(".") if named and not inside else owner
                yield name, child
                yield from walk(child, name)

        yield from walk(self.tree, "")


def _modules(package: str) -> dict[str, Module]:
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = Module(name, path)
    return found


CORE = _modules("synapse_core")
SERVER = _modules("synapse_mcp")
PLUGINS = _modules("plugins")
OURS = {**CORE, **SERVER}
LINE_OF = {name: line for line, names in LAYERS.items() for name in names}


def entry_of(module: str) -> str:
    """Return the name under which LAYERS holds a module."""
    first, _, rest = module.partition(".")
    return first if first == "synapse_mcp" else rest.partition(".")[0] or "__init__"


def resolved(name: str) -> str | None:
    """Return the module of ours that an imported dotted name belongs to, None where it is not ours."""
    first, _, attribute = name.rpartition(".")
    if first == "synapse_core" and attribute in _HOMES:
        return f"synapse_core.{_HOMES[attribute]}"
    while name:
        if name in OURS:
            return name
        name = name.rpartition(".")[0]
    return None


def edges(module: Module) -> Iterator[tuple[int, str]]:
    """Yield (line, module of ours) for each import, and for each module that is named in a text to be run."""
    for line, name in module.imported_names():
        target = resolved(name)
        if target is not None and (module.name, target) not in PROMISED_BELOW:
            yield line, target
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and node.value in OURS and "." in str(node.value):
            yield node.lineno, str(node.value)


def may_import(importer: str, imported: str) -> bool:
    here, there = entry_of(importer), entry_of(imported)
    if here == there:
        return True
    if LINE_OF[here] != LINE_OF[there]:
        return LINE_OF[there] < LINE_OF[here]
    line = LAYERS[LINE_OF[here]]
    return line.index(there) < line.index(here)


def third_party(module: Module) -> Iterator[tuple[int, str]]:
    for line, name in module.imported_names():
        package = name.partition(".")[0]
        if package not in sys.stdlib_module_names and not package.startswith("synapse_"):
            yield line, package


def is_below(module: str, places: tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def where(module: Module, line: int) -> str:
    return f"{module.path.relative_to(ROOT)}:{line}"


# Who may import whom


def test_every_module_has_its_line():
    missing = {entry_of(name) for name in OURS} - set(LINE_OF)

    assert not missing, f"give these a line in LAYERS and in CONTRIBUTING.md: {sorted(missing)}"
    assert {entry_of(name) for name in OURS} == set(LINE_OF), "a line names a module that is not there"


def test_a_module_imports_only_what_stands_above_it_or_left_of_it():
    wrong = [
        f"{where(module, line)}: {module.name} imports {target}"
        for module in OURS.values()
        for line, target in edges(module)
        if not may_import(module.name, target)
    ]

    assert not wrong, "\n".join(wrong)


def test_a_plugin_uses_the_authoring_names_only():
    wrong = [
        f"{where(module, line)}: {target}"
        for module in PLUGINS.values()
        for line, target in edges(module)
        if LINE_OF[entry_of(target)] > LAST_LINE_FOR_PLUGINS
    ]

    assert not wrong, "\n".join(wrong)


def test_what_was_promised_below_its_line_is_looked_up_when_it_is_first_used():
    for promised, target in PROMISED_BELOW:
        places = {
            owner
            for owner, node in OURS[promised].owners()
            if isinstance(node, ast.ImportFrom)
            and node.module == target
            and node not in OURS[promised].only_for_types
        }
        assert places == {"__getattr__"}


def test_no_import_goes_in_a_circle():
    graph = {name: {target for _, target in edges(module)} - {name} for name, module in OURS.items()}

    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_imports_name_the_whole_path():
    wrong = [
        where(module, node.lineno)
        for module in (*OURS.values(), *PLUGINS.values())
        for node in module.run_time_imports()
        if isinstance(node, ast.ImportFrom) and node.level
    ]

    assert not wrong, f"relative imports: {wrong}"


def test_third_party_packages_stay_behind_their_fences():
    wrong = [
        f"{where(module, line)}: {package}"
        for module in OURS.values()
        for line, package in third_party(module)
        if not is_below(module.name, FENCES.get(package, ()))
    ]

    assert not wrong, "\n".join(wrong)


def test_every_place_inside_a_fence_is_in_use():
    used = [(module.name, package) for module in OURS.values() for _, package in third_party(module)]
    idle = [
        f"{package} in {place}"
        for package, places in FENCES.items()
        for place in places
        if not any(package == other and is_below(name, (place,)) for name, other in used)
    ]

    assert not idle, idle


def test_every_package_that_is_imported_is_a_declared_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [text for name in EXTRAS for text in project["optional-dependencies"][name]]
    declared = {re.split(r"[\[<>=~!; ]", text, maxsplit=1)[0] for text in (*project["dependencies"], *extras)}
    imported = {package for module in OURS.values() for _, package in third_party(module)}

    assert {COMES_WITH.get(package, package) for package in imported} <= declared


@pytest.mark.parametrize("module", ["synapse_core", "synapse_mcp.server", "synapse_core.supervisor"])
def test_starting_imports_nothing_heavy(module: str):
    code = f"import sys, {module}; sys.stdout.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert module.partition(".")[0] in loaded
    assert not loaded & set(HEAVY)


def test_an_import_inside_a_function_tells_its_reason():
    """In a comment on its line or the line before; several in a row share one."""
    wrong = []
    for module in OURS.values():
        for parent in ast.walk(module.tree):
            for block in (getattr(parent, "body", None), getattr(parent, "orelse", None)):
                wrong += _without_reason(module, block) if isinstance(block, list) else []

    assert not wrong, "\n".join(wrong)


def _without_reason(module: Module, block: list[ast.stmt]) -> list[str]:
    wrong = []
    has_reason = False
    for statement in block:
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            has_reason = False
            continue
        if statement.col_offset == 0 or statement in module.only_for_types:
            continue
        lines = {statement.lineno - 1, statement.lineno, statement.end_lineno}
        has_reason = has_reason or bool(lines & module.comment_lines)
        if not has_reason:
            wrong.append(f"{where(module, statement.lineno)}: {ast.unparse(statement)}")
    return wrong


# What must not exist


@pytest.mark.parametrize("word", ["utils", "helpers", "common", "misc"])
def test_no_file_is_a_drawer(word: str):
    found = [
        path
        for folder in ("synapse_core", "synapse_mcp", "plugins", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*")
        if re.fullmatch(rf"(.*_)?{word}", path.stem)
    ]

    assert not found


def test_no_class_is_named_after_its_job():
    wrong = [
        f"{where(module, node.lineno)}: {node.name}"
        for module in (*OURS.values(), *PLUGINS.values())
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        and node.name not in NAMES_TO_KEEP
        and re.search(r"(Managers?|Helpers?|Factory|Factories|Utils?)$|^Async", node.name)
    ]

    assert not wrong


def test_an_abstract_class_has_several_subclasses():
    bases = {
        (module.name, node.name): {ast.unparse(base).partition("[")[0] for base in node.bases}
        for module in (*OURS.values(), *PLUGINS.values())
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    }
    abstract = [name for (_, name), parents in bases.items() if "ABC" in parents]
    counts = {name: sum(name in parents for parents in bases.values()) for name in abstract}

    assert abstract
    assert all(count > 1 for count in counts.values()), counts


def test_only_the_command_line_prints():
    wrong = [
        where(module, node.lineno)
        for module in OURS.values()
        if module.name not in MAY_PRINT
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]

    assert not wrong


def test_only_the_named_functions_catch_everything():
    found = {
        f"{module.name}:{owner}": where(module, node.lineno)
        for module in OURS.values()
        for owner, node in module.owners()
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type)
    }

    assert {name: place for name, place in found.items() if name not in BROAD_HANDLERS} == {}
    assert set(BROAD_HANDLERS) == set(found), "a handler on the list is gone; take it off"


def _is_broad(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(ast.unparse(kind) in ("Exception", "BaseException") for kind in kinds)


def test_no_handler_is_empty():
    """An error that is passed over says why: in a comment, or by contextlib.suppress, which names it."""
    wrong = [
        where(module, node.lineno)
        for module in OURS.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler)
        and len(node.body) == 1
        and isinstance(node.body[0], ast.Pass | ast.Continue)
        and node.body[0].lineno not in module.comment_lines
    ]

    assert not wrong


def test_rays_private_modules_are_left_alone():
    wrong = [
        f"{where(module, number)}: {name}"
        for module in (*OURS.values(), *PLUGINS.values())
        for number, line in enumerate(module.source.splitlines(), start=1)
        for name in re.findall(r"\bray(?:\.\w+)*\._[a-z]\w*", line)
        if name not in PRIVATE_RAY
    ]

    assert not wrong


def test_modules_hold_no_state_beside_the_named_objects():
    found = {
        f"{module.name}.{name}": where(module, node.lineno)
        for module in OURS.values()
        for name, node in _module_level_values(module)
        if name != "__all__"
        and not _is_constant(node)
        and not _USUAL_TABLES.fullmatch(f"{module.name}.{name}")
    }

    assert {name: place for name, place in found.items() if name not in NAMED_OBJECTS} == {}
    assert set(NAMED_OBJECTS) == set(found), "an object on the list is gone; take it off"


def test_nothing_rebinds_a_module_level_name():
    wrong = [
        where(module, node.lineno)
        for module in OURS.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Global)
    ]

    assert not wrong


def test_tables_are_written_where_they_stand():
    wrong = []
    for full_name in NAMED_OBJECTS:
        module_name, _, table = full_name.rpartition(".")
        for owner, node in OURS[module_name].owners():
            if owner and f"{module_name}:{owner}" != WRITTEN_BY.get(full_name) and _writes(node, table):
                wrong.append(f"{where(OURS[module_name], node.lineno)}: {table}")

    assert not wrong


_WRITING = {"append", "extend", "insert", "update", "setdefault", "pop", "popitem", "clear", "remove", "add"}


def _writes(node: ast.AST, table: str) -> bool:
    if isinstance(node, ast.Assign | ast.AugAssign | ast.Delete):
        targets = [node.target] if isinstance(node, ast.AugAssign) else node.targets
        return any(isinstance(one, ast.Subscript) and ast.unparse(one.value) == table for one in targets)
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _WRITING
        and ast.unparse(node.func.value) == table
    )


def _module_level_values(module: Module) -> Iterator[tuple[str, ast.expr]]:
    for statement in module.tree.body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                yield ast.unparse(target), statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            yield ast.unparse(statement.target), statement.value


_CONSTANT_CALLS = {
    "re.compile",
    "frozenset",
    "TypeVar",
    "MappingProxyType",
    "logging.getLogger",
    "Path",
    # msgspec's compiled forms
    "msgspec.json.Decoder",
    "msgspec.json.Encoder",
}
# Tables that every module of a kind has: their name -> what they are.
_USUAL_TABLES = re.compile(
    r"synapse_core\.(datasets\.formats\.\w+\.FORMATS|backend\.(tables|kinds)\.\w+"
    r"|storage\.\w+\.PROVIDER)"
)


def _is_constant(value: ast.expr) -> bool:
    """Return True for values that nobody can change: numbers, texts, tuples of them, types, patterns."""
    if isinstance(value, ast.Dict | ast.List | ast.Set | ast.DictComp | ast.ListComp | ast.SetComp):
        return False
    if isinstance(value, ast.Call):
        called = ast.unparse(value.func)
        is_text = isinstance(value.func, ast.Attribute) and isinstance(value.func.value, ast.Constant)
        return is_text or called in _CONSTANT_CALLS
    if isinstance(value, ast.Subscript):
        return True  # a type, such as tuple[str | int, ...]
    return all(_is_constant(child) for child in ast.iter_child_nodes(value) if isinstance(child, ast.expr))


def test_importing_a_module_does_no_work():
    allowed = (
        *(ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign),
        *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
    )
    wrong = [
        f"{where(module, statement.lineno)}: {ast.unparse(statement)[:60]}"
        for module in OURS.values()
        for statement in module.tree.body
        if not isinstance(statement, allowed) and not _is_harmless(module, statement)
    ]

    assert not wrong, "\n".join(wrong)


def _is_harmless(module: Module, statement: ast.stmt) -> bool:
    text = ast.unparse(statement)
    if isinstance(statement, ast.If):
        return text.startswith(("if TYPE_CHECKING:", "if __name__ == '__main__':"))
    is_docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_docstring or (module.name == "synapse_mcp.cli" and text.startswith("app.add_typer("))


@pytest.mark.parametrize("call", ONE_PLACE)
def test_one_place_is_in_charge(call: str):
    wrong = [
        f"{where(module, node.lineno)}: {ast.unparse(node)[:70]}"
        for module in OURS.values()
        if module.name not in ONE_PLACE[call]
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == call
    ]

    assert not wrong, "\n".join(wrong)


def test_classes_are_prepared_for_decoding_in_one_place():
    """Two threads that have msgspec prepare one class at the same moment end the process."""
    wrong = [
        f"{where(module, node.lineno)}: {ast.unparse(node)[:70]}"
        for module in OURS.values()
        if module.name != "synapse_core.decoding"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and (
            ast.unparse(node.func) == "msgspec.convert"
            or (
                ast.unparse(node.func) == "msgspec.json.decode"
                and any(keyword.arg == "type" for keyword in node.keywords)
            )
        )
    ]

    assert not wrong, "\n".join(wrong)


def test_every_module_says_what_lives_in_it():
    wrong = [
        str(module.path.relative_to(ROOT))
        for module in (*OURS.values(), *PLUGINS.values())
        if module.source.strip() and not ast.get_docstring(module.tree)
    ]

    assert not wrong


def test_no_package_is_empty():
    empty = [
        str(module.path.relative_to(ROOT))
        for module in OURS.values()
        if module.path.name == "__init__.py"
        and not module.source.strip()
        and not any(other.startswith(f"{module.name}.") for other in OURS)
    ]

    assert not empty


def test_a_module_can_be_read_in_one_sitting():
    lengths = {
        str(module.path.relative_to(ROOT)): len(module.source.splitlines())
        for module in (*OURS.values(), *PLUGINS.values())
    }

    assert {path: length for path, length in lengths.items() if length > MOST_LINES} == {}


# What no text of the repository may hold

TEXTS = sorted(
    path
    for folder in ("synapse_core", "synapse_mcp", "plugins", "tests", "benchmarks", ".ci")
    for path in (ROOT / folder).rglob("*")
    if path.is_file()
    and "__pycache__" not in path.parts
    and path.suffix not in (".pyc", ".json", ".typed", ".png")
) + sorted(path for path in ROOT.glob("*") if path.suffix in (".md", ".toml"))


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("a promise instead of work", r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b"),
        ("a path of one machine", r"(?<![\w.:$}>])/(?:home|Users|root|work|mnt)/(?!me\b)\w"),
        ("a ticket's number", r"(?i)\b(?:issue|ticket|bug|pull request|PR)s? #?\d+\b|(?<![\w&/'\"(])#\d+\b"),
        ("a conflict that was not resolved", r"^(?:<{7}|>{7}) "),
    ],
)
def test_no_text_holds(what: str, pattern: str):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in TEXTS
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if re.search(pattern, line)
    ]

    assert not found, f"{what}:\n" + "\n".join(found)

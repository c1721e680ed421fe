"""How a storage is described: providers and their names, settings, secrets, packages."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import synapse_core.storage as storage_package
from synapse_core.errors import Conflict, ProviderNotFound, StorageConfigError, StorageError
from synapse_core.storage import (
    Capabilities,
    get_capabilities,
    get_path_file_count,
    get_path_total_size,
    get_pathlib,
    get_registered_providers,
    get_storage,
    providers,
    register_provider,
)

S3 = {"bucket_name": "bucket", "access_key": "AKIAEXAMPLE", "secret_key": "hidden-hidden"}
GCS = {"bucket_name": "bucket", "credentials": {"type": "service_account", "private_key": "hidden-hidden"}}
SFTP = {"host": "files.example", "username": "worker", "password": "hidden-hidden"}
HTTP = {"base_url": "https://files.example/base", "headers": {"Authorization": "hidden-hidden"}}


def config(provider: str, configuration: Any) -> dict[str, Any]:
    return {"provider": provider, "configuration": configuration}


@pytest.mark.parametrize(
    ("name", "means", "configuration"),
    [
        ("local", "local", {"location": "/base"}),
        ("file_system", "local", {"location": "/base"}),
        ("s3", "s3", S3),
        ("amazon_s3", "s3", S3),
        ("minio", "s3", S3),
        ("S3", "s3", S3),
        ("sftp", "sftp", SFTP),
        ("http", "http", HTTP),
        ("https", "http", HTTP),
        ("memory", "memory", None),
    ],
)
def test_a_provider_is_known_by_its_names(name: str, means: str, configuration: Any):
    assert get_storage(config(name, configuration)).provider == means
    assert get_storage(SimpleNamespace(provider=name, configuration=configuration)).provider == means
    assert name.lower() in get_registered_providers()
    assert get_capabilities(name) == get_storage(config(name, configuration)).capabilities


@pytest.mark.parametrize("name", ["gcs", "gs", "gcp"])
def test_the_names_of_googles_store_are_known(name: str, gcs_credentials: dict[str, Any], tmp_path: Path):
    import json

    file = tmp_path / "key.json"
    file.write_text(json.dumps(gcs_credentials))
    for credentials in (gcs_credentials, json.dumps(gcs_credentials), str(file)):
        opened = get_storage(config(name, {"bucket_name": "bucket", "credentials": credentials}))
        assert (opened.provider, opened.base_url) == ("gcs", "gs://bucket/")


def test_an_unknown_provider_tells_which_there_are():
    with pytest.raises(ProviderNotFound, match="sftp") as caught:
        get_storage(config("sftpp", {}))
    assert caught.value.details["nearest"][0] == "sftp"


@pytest.mark.parametrize("given", [{}, {"provider": ""}, {"provider": 3}, None, "local"])
def test_a_storage_without_a_provider_is_told(given: Any):
    with pytest.raises(StorageConfigError, match="provider"):
        get_storage(given)


@pytest.mark.parametrize(
    ("provider", "configuration", "key", "value"),
    [
        ("local", {}, "location", None),
        ("local", {}, "location", "  "),
        ("local", {}, "location", 7),
        ("s3", S3, "bucket_name", ""),
        ("s3", S3, "bucket_name", "bucket/prefix"),
        ("s3", S3, "bucket_name", "../bucket"),
        ("s3", S3, "access_key", None),
        ("s3", S3, "secret_key", ""),
        ("s3", S3, "endpoint_url", "ftp://minio"),
        ("s3", S3, "endpoint_url", "http://user:hidden-hidden@minio"),
        ("gcs", GCS, "bucket_name", None),
        ("gcs", GCS, "credentials", None),
        ("gcs", GCS, "credentials", "/no/such/file.json"),
        ("gcs", GCS, "credentials", "{not json"),
        ("gcs", GCS, "credentials", GCS["credentials"]),
        ("sftp", SFTP, "host", None),
        ("sftp", SFTP, "host", "worker@files.example"),
        ("sftp", SFTP, "host", "files.example/x"),
        ("sftp", SFTP, "host", "-oProxyCommand=x"),
        ("sftp", SFTP, "username", ""),
        ("sftp", SFTP, "password", ""),
        ("sftp", SFTP, "port", 0),
        ("sftp", SFTP, "port", 70000),
        ("sftp", SFTP, "port", "ssh"),
        ("sftp", SFTP, "root_path", "files"),
        ("sftp", SFTP, "root_path", "/files/../etc"),
        ("http", HTTP, "base_url", None),
        ("http", HTTP, "base_url", "files.example"),
        ("http", HTTP, "base_url", "file:///etc"),
        ("http", HTTP, "base_url", "https://"),
        ("http", HTTP, "base_url", "https://files.example@evil.example/"),
        ("http", HTTP, "base_url", "https://user:hidden-hidden@files.example/"),
        ("http", HTTP, "base_url", "https://files.example\\@evil.example/"),
        ("http", HTTP, "base_url", "https://files.example/a/../../b"),
        ("http", HTTP, "base_url", "https://files.example/%2e%2e/b"),
        ("http", HTTP, "base_url", "https://files.example/?token=x"),
        ("http", HTTP, "base_url", "https://files.example/#x"),
        ("http", HTTP, "base_url", "https://files.example\r\nHost: evil/"),
        ("http", HTTP, "base_url", "https://files.example:99999/"),
        ("http", HTTP, "timeout", 0),
        ("http", HTTP, "timeout", float("nan")),
        ("http", HTTP, "timeout", "soon"),
        ("http", HTTP, "headers", ["a"]),
        ("http", HTTP, "headers", {"Authorization": "hidden-hidden\r\nX: y"}),
        ("http", HTTP, "headers", {"Host": "evil.example"}),
        ("memory", {}, "location", "../x"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(provider: str, configuration: Any, key: str, value: Any):
    with pytest.raises(StorageConfigError, match=f"'{key}'.*Allowed is") as caught:
        get_storage(config(provider, {**configuration, key: value}))
    assert caught.value.details["key"] == key
    assert "hidden-hidden" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("configuration", ["/base", ["/base"], 3])
def test_a_configuration_is_a_mapping(configuration: Any):
    with pytest.raises(StorageConfigError, match="mapping"):
        get_storage(config("local", configuration))


def test_an_unknown_setting_is_ignored_with_a_warning(tmp_path: Path):
    given = {"location": str(tmp_path), "loction": "x"}

    with pytest.warns(UserWarning, match="'loction'.*Did you mean location") as caught:
        opened = get_storage(config("local", given))
    assert caught[0].filename == __file__
    assert opened.base_url == tmp_path.as_uri() + "/"


def test_an_optional_setting_may_be_empty():
    opened = get_storage(config("sftp", {**SFTP, "private_key": "", "port": "2222", "root_path": None}))

    assert opened.base_url == "sftp://files.example:2222/"


@pytest.mark.parametrize(
    ("provider", "configuration", "url"),
    [
        ("s3", S3, "s3://bucket/a b"),
        ("sftp", {**SFTP, "root_path": "/the base/"}, "sftp://files.example/the%20base/a%20b"),
        ("http", HTTP, "https://files.example/base/a%20b"),
        ("memory", {"location": "one/two"}, "memory://one/two/a b"),
    ],
)
def test_urls_begin_with_the_base(provider: str, configuration: Any, url: str):
    opened = get_storage(config(provider, configuration))

    assert opened.get_url("a b") == url
    assert opened.name_of(url) == "a b"


@pytest.mark.parametrize(("provider", "configuration"), [("s3", S3), ("sftp", SFTP), ("http", HTTP)])
def test_secrets_are_not_shown(provider: str, configuration: Any):
    opened = get_storage(config(provider, configuration))

    shown = [repr(opened), str(opened), opened.get_url("a"), repr(opened._files), repr(opened._translator)]
    assert "hidden-hidden" not in " ".join(shown)


def test_an_error_that_holds_a_secret_loses_it():
    opened = get_storage(config("http", HTTP))

    with pytest.raises(StorageError) as caught, opened._translator.doing("read", "a"):
        raise OSError("the server said hidden-hidden")
    assert "hidden-hidden" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_program_adds_a_provider_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(providers, "_REGISTERED", {})

    def attic(configuration: dict[str, Any]) -> Any:
        return get_storage(config("memory", {"location": configuration["shelf"]}))

    register_provider("Attic", attic, Capabilities(lists=True))
    register_provider("attic", attic, Capabilities(lists=True))

    assert get_storage(config("attic", {"shelf": "top"})).base_url == "memory://top/"
    assert "attic" in get_registered_providers()
    assert get_capabilities("attic").lists
    for name in ("attic", "s3", "minio"):
        with pytest.raises(Conflict):
            register_provider(name, lambda configuration: attic(configuration))


def test_the_functions_take_a_configuration(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1").write_text("12")
    given = config("local", {"location": str(tmp_path)})

    assert get_pathlib(given, "a") == tmp_path / "a"
    assert get_path_file_count(given, "a") == 1
    assert get_path_total_size(given) == 2


@pytest.mark.parametrize(
    ("provider", "module", "extra"),
    [("s3", "s3fs", "s3"), ("gcs", "google.cloud.storage.retry", "gcs"), ("sftp", "paramiko", "sftp")],
)
def test_a_missing_package_tells_what_to_install(
    provider: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delitem(sys.modules, f"synapse_core.storage.{provider}", raising=False)
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(StorageConfigError) as caught:
        get_storage(config(provider, {}))
    assert caught.value.hint == f'pip install "synapse-mcp[{extra}]"'


def test_importing_the_package_loads_no_library_of_a_provider():
    heavy = ("fsspec", "s3fs", "google.cloud", "paramiko", "httpx", "aiohttp")
    code = f"import sys, synapse_core.storage; print([name for name in {heavy} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
    assert [name for name in storage_package.__all__ if not hasattr(storage_package, name)] == []

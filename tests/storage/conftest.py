"""Storages of every provider, each with a base of its own for each test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from gcp_storage_emulator.server import create_server
from moto.server import ThreadedMotoServer
from storage_servers import PASSWORD, USERNAME, Sftp, Web, sftp_server, token_server, web_server

from synapse_core.storage import Storage, get_storage

PROVIDERS = ("local", "memory", "s3", "gcs", "sftp", "http")
LISTING = tuple(name for name in PROVIDERS if name != "http")
_numbers = itertools.count()

Config = dict[str, Any]


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def gcs_credentials() -> Iterator[Config]:
    """A service account's key, whose tokens come from a server of ours."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    with token_server() as url:
        yield {
            "type": "service_account",
            "project_id": "shapes",
            "private_key_id": "1",
            "private_key": text,
            "client_email": "worker@shapes.example",
            "token_uri": url,
        }


@pytest.fixture(scope="session")
def gcs_endpoint() -> Iterator[str]:
    server = create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    yield f"http://127.0.0.1:{server._api._httpd.server_port}"
    server.stop()


@pytest.fixture(scope="session")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sftp]:
    with sftp_server(tmp_path_factory.mktemp("sftp")) as world:
        yield world


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as world:
        yield world


@pytest.fixture(autouse=True)
def user_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of the user's own keys, known hosts, proxies and accounts is seen."""
    for name in (
        "AWS_PROFILE",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "user"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture
def config_of(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Config]:
    """Return a configuration of a provider with a fresh base."""

    def make(provider: str) -> Config:
        number = next(_numbers)
        configuration: Config
        if provider == "local":
            configuration = {"location": str(tmp_path / "base")}
        elif provider == "memory":
            configuration = {"location": f"tests/{number}"}
        elif provider == "s3":
            endpoint = request.getfixturevalue("s3_endpoint")
            configuration = s3_configuration(endpoint, f"bucket-{number}")
            client = boto3.client(
                "s3",
                endpoint_url=endpoint,
                region_name="us-east-1",
                aws_access_key_id="a",
                aws_secret_access_key="b",
            )
            client.create_bucket(Bucket=configuration["bucket_name"])
            client.close()
        elif provider == "gcs":
            credentials = request.getfixturevalue("gcs_credentials")
            endpoint = request.getfixturevalue("gcs_endpoint")
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", endpoint)
            configuration = {"bucket_name": f"bucket-{number}", "credentials": credentials}
            make_gcs_bucket(endpoint, configuration["bucket_name"])
        elif provider == "sftp":
            server = request.getfixturevalue("sftp")
            (server.root / f"base-{number}").mkdir()
            configuration = {
                "host": "127.0.0.1",
                "port": server.port,
                "username": USERNAME,
                "password": PASSWORD,
                "root_path": f"/base-{number}",
            }
        else:
            configuration = {"base_url": f"{request.getfixturevalue('web').url}plain/{number}"}
        return {"provider": provider, "configuration": configuration}

    return make


def s3_configuration(endpoint: str, bucket: str) -> Config:
    return {
        "bucket_name": bucket,
        "access_key": "AKIAEXAMPLEEXAMPLE",
        "secret_key": "a-secret-that-nobody-may-see",
        "endpoint_url": endpoint,
    }


def make_gcs_bucket(endpoint: str, name: str) -> None:

    httpx.post(
        f"{endpoint}/storage/v1/b", params={"project": "shapes"}, json={"name": name}
    ).raise_for_status()


@pytest.fixture(params=PROVIDERS)
def storage(request: pytest.FixtureRequest, config_of: Callable[[str], Config]) -> Iterator[Storage]:
    with get_storage(config_of(request.param)) as opened:
        yield opened


@pytest.fixture(params=LISTING)
def listing(request: pytest.FixtureRequest, config_of: Callable[[str], Config]) -> Iterator[Storage]:
    """The storages that tell what they have."""
    with get_storage(config_of(request.param)) as opened:
        yield opened


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.bin"
    path.write_bytes(b"some bytes\x00\xff")
    return path

"""BaseServeDeployment: a plugin's model behind HTTP, on Ray Serve. Used in replicas only.

Importing this imports neither ray nor fastapi.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import msgspec
from pydantic import BaseModel, ValidationError

from synapse_core import params as parameters
from synapse_core.actions.inference.model_token import home_secret, read_model_id
from synapse_core.actions.model_files import as_mapping, model_folder
from synapse_core.archives import MOST_BYTES
from synapse_core.backend.records import Model
from synapse_core.backend_choice import open_backend
from synapse_core.decoding import converted, decoded
from synapse_core.environment import default_home
from synapse_core.errors import (
    ExecutionError,
    InferenceFailed,
    InputsRejected,
    InvalidModelToken,
    ModelLoadError,
    RecordNotFound,
    SynapseError,
)
from synapse_core.profile import Profile, find_profile

# Under which name a replica finds its ServeSettings.
SETTINGS_VARIABLE = "SYNAPSE_SERVE"
# A model that could not be loaded is not tried again so soon: each try would push out one that works.
_FAILED_SECONDS = 30.0
_MOST_TOKENS = 1024
_MOST_PROBLEMS = 5


class ServeSettings(msgspec.Struct, frozen=True):
    """What a replica is told. Holds no secrets.

    name: of the deployment, for which tokens are made; empty outside of one of ours, where it is that of the
    Serve application. home: of the deployer. model: the id of the model that requests are for which name no
    other; it is loaded at the start. record, folder: of that model; where its files lie there, a replica
    starts without the backend. profile: for the backend. batch: max_batch_size and batch_wait_timeout_s of
    `serve.batch`. max_models: how many other models a replica holds at a time.
    """

    name: str = ""
    home: str | None = None
    model: int | None = None
    record: dict[str, Any] = {}
    folder: str | None = None
    profile: str | None = None
    requires_token: bool = True
    batch: dict[str, float] = {}
    max_models: int | None = None

    @classmethod
    def of_this_process(cls) -> ServeSettings:
        return decoded(os.environ.get(SETTINGS_VARIABLE, "{}"), cls)


class _Held:
    """One model in memory. Nothing is called when it is let go of; Serve would call its `__del__` twice."""

    def __init__(self, model: Any) -> None:
        self.model = model


class BaseServeDeployment:
    """Serves registered models: define `_get_model` and `infer`.

    A class as it is gets routes of its own: POST /predict takes {"inputs": […]} and gives {"results": […]}.
    One that is decorated with `serve.deployment` and `serve.ingress` brings its own.

    max_models: how many models a replica holds besides the deployment's own, the least recently used one is
    let go of. most_body_bytes: what a request may be long. input_model: what each input must be; it reaches
    `infer` as such. sample_inputs: what a new version is asked first; it only goes live when it answers.
    backend_url: where models come from; by default the backend of the deployer.
    """

    max_models: ClassVar[int] = 3
    most_body_bytes: ClassVar[int] = 10_000_000
    most_model_bytes: ClassVar[int] = MOST_BYTES
    input_model: ClassVar[type[BaseModel] | None] = None
    sample_inputs: ClassVar[Sequence[Any]] = ()

    def __init__(self, backend_url: str | None = None) -> None:
        self.backend_url = backend_url
        self.settings = ServeSettings.of_this_process()
        self._home = Path(self.settings.home) if self.settings.home else default_home()
        self._token: ContextVar[str | None] = ContextVar("token", default=None)
        self._known: dict[str, tuple[str, float]] = {}
        self._own: _Held | None = None
        self._own_turn = asyncio.Lock()
        self._held: WeakValueDictionary[str, _Held] = WeakValueDictionary()
        self._failed: dict[str, tuple[float, ModelLoadError]] = {}
        self._batches: dict[str, Callable[[Any], Awaitable[Any]]] = {}
        self._load_by_token: Callable[[str], Awaitable[_Held]] | None = None
        self._secret: str | None = None
        self._name = self.settings.name

    async def _get_model(self, model_info: dict[str, Any]) -> Any:
        """Return the model in memory. Override this.

        model_info: the fields of its record, and `path`: the folder with its files (a Path), which are read
        where they lie, not copied into memory first.
        """
        raise ExecutionError(
            f"{type(self).__name__} does not say how a model is loaded.",
            hint="Define async def _get_model(self, model_info), which reads model_info['path'].",
        )

    async def infer(self, inputs: list[Any]) -> list[Any]:
        """Return one result for each input, in their order. Override this. A ValueError is the sender's."""
        raise ExecutionError(
            f"{type(self).__name__} does not say how it predicts.",
            hint="Define async def infer(self, inputs), which awaits self.get_model().",
        )

    async def get_model(self) -> Any:
        """Return the model that the present request is for, loaded once.

        Raises InvalidModelToken before anything is loaded, RecordNotFound for a model that is not there, and
        ModelLoadError; in routes of one's own it is the HTTPException that says so.
        """
        token = self._token.get()
        if token is not None:
            return await self._model_of(token)
        from ray import serve  # in replicas, where it is loaded

        try:
            return await self._model_of(serve.get_multiplexed_model_id())
        except SynapseError as error:
            from fastapi import HTTPException  # in replicas, where it is loaded

            status = 401 if isinstance(error, InvalidModelToken) else 404
            status = status if isinstance(error, InvalidModelToken | RecordNotFound) else 500
            raise HTTPException(status, error.message) from error

    async def prepare(self) -> None:
        """Load the deployment's own model, so that a version that cannot does not come up."""
        if self.settings.model is not None:
            await self._own_model()

    def check_token(self, token: str) -> str:
        """Return the id of the model that a token is for; '' for that of the deployment, where none is asked.

        Raises InvalidModelToken.
        """
        if not token and not self.settings.requires_token:
            return ""
        known = self._known.get(token)
        if known is None or known[1] < time.time():
            if self._secret is None:
                self._secret = home_secret(self._home)
            known = read_model_id(token, audience=self._audience(), secret=self._secret)
            if len(self._known) >= _MOST_TOKENS:
                self._known.clear()
            self._known[token] = known
        return known[0]

    async def answer(self, token: str, inputs: list[Any]) -> list[Any]:
        """Return the results of one request whose token was checked.

        Raises InputsRejected for inputs that do not fit, and whatever `infer` raises.
        """
        inputs = self._checked(inputs)
        if self.settings.batch:
            results, error = await self._batch_of(token)(inputs)
            if error is not None:
                raise error
        else:
            results = await self._infer_for(token, inputs)
        return list(results)

    async def answer_samples(self, token: str) -> list[Any]:
        """Return the results of the class's sample inputs; where there are none, only load the model."""
        if self.sample_inputs:
            return await self.answer(token, list(self.sample_inputs))
        await self._model_of(token)
        return []

    async def _infer_for(self, token: str, inputs: list[Any]) -> list[Any]:
        self._token.set(token)
        results = await self.infer(inputs)
        if len(results) != len(inputs):
            raise InferenceFailed(
                f"{type(self).__name__}.infer gave {len(results)} results for {len(inputs)} inputs.",
                hint="It should return one result for each input, in their order.",
            )
        return results

    def _checked(self, inputs: list[Any]) -> list[Any]:
        wanted = self.input_model
        if wanted is None:
            return inputs
        checked = []
        for number, entry in enumerate(inputs):
            try:
                checked.append(wanted.model_validate(entry))
            except ValidationError as error:
                problems = parameters.problems_of(error, wanted)
                told = "; ".join(parameters.problem_line(problem) for problem in problems[:_MOST_PROBLEMS])
                raise InputsRejected(f"inputs[{number}]: {told}", {"problems": problems}) from None
        return checked

    def _batch_of(self, token: str) -> Callable[[Any], Awaitable[Any]]:
        """Return what collects the requests for one model and infers for them at once."""
        model_id = self.check_token(token)
        if model_id not in self._batches:
            from ray import serve  # in replicas, where it is loaded

            async def infer_together(requests: list[list[Any]]) -> list[Any]:
                return await self._infer_together(token, requests)

            self._batches[model_id] = serve.batch(infer_together, **self.settings.batch)
        return self._batches[model_id]

    async def _infer_together(self, token: str, requests: list[list[Any]]) -> list[Any]:
        """Return (results, error) for each request; one with bad inputs leaves the others alone."""
        if len(requests) == 1:
            return [await self._infer_alone(token, requests[0])]
        results, error = await self._infer_alone(token, [one for inputs in requests for one in inputs])
        if error is not None:
            return [await self._infer_alone(token, inputs) for inputs in requests]
        ends = [sum(map(len, requests[: number + 1])) for number in range(len(requests))]
        return [(results[end - len(inputs) : end], None) for end, inputs in zip(ends, requests, strict=True)]

    async def _infer_alone(self, token: str, inputs: list[Any]) -> tuple[list[Any], Exception | None]:
        try:
            return await self._infer_for(token, inputs), None
        except Exception as error:  # noqa: BLE001  # a plugin's model: raised where its request waits
            return [], error

    async def _model_of(self, token: str) -> Any:
        model_id = self.check_token(token)
        own = "" if self.settings.model is None else str(self.settings.model)
        if model_id in ("", own) and own:
            return (await self._own_model()).model
        if not model_id:
            raise InvalidModelToken(
                f"The deployment {self._audience()!r} has no model of its own, and the request names none.",
                hint="Send a token that names a model.",
            )
        await self._load_info(model_id)
        return (await self._load_model_from_token(token)).model

    async def _own_model(self) -> _Held:
        if self._own is None:
            async with self._own_turn:
                if self._own is None:
                    self._own = await self._load(str(self.settings.model))
        return self._own

    async def _load_model_from_token(self, token: str) -> _Held:
        """Return the model of a token that was checked, through Serve's cache of models."""
        if self._load_by_token is None:
            from ray import serve  # in replicas, where it is loaded

            async def load(token: str) -> _Held:
                model_id = self.check_token(token)
                # The same model by another token is the same in memory.
                held = self._held.get(model_id) or await self._load(model_id)
                self._held[model_id] = held
                return held

            most = self.settings.max_models or self.max_models
            self._load_by_token = serve.multiplexed(load, max_num_models_per_replica=most)
        return await self._load_by_token(token)

    async def _load(self, model_id: str) -> _Held:
        info = await self._load_info(model_id)
        try:
            return _Held(await self._get_model(info))
        except Exception as error:  # a plugin's code: the request fails, the replica goes on
            failure = ModelLoadError(
                f"Model {info.get('name')!r} (id {model_id}) could not be loaded: "
                f"{type(error).__name__}: {error}",
                {"model": model_id},
            )
            self._failed[model_id] = (time.monotonic() + _FAILED_SECONDS, failure)
            raise failure from error

    async def _load_info(self, model_id: str) -> dict[str, Any]:
        """Return the record of a model, its files fetched. Raises RecordNotFound, and what fetching does.

        All of this happens before Serve's cache is asked, which makes room before it knows of a failure.
        """
        if model_id in self._held:
            return {}
        told = self.settings
        if model_id == str(told.model) and told.folder is not None and Path(told.folder).is_dir():
            return as_mapping(converted(told.record, Model), path=Path(told.folder))
        until, failure = self._failed.get(model_id, (0.0, None))
        if failure is not None and until > time.monotonic():
            raise failure
        return await asyncio.to_thread(self._fetch, model_id)

    def _fetch(self, model_id: str) -> dict[str, Any]:
        if not model_id.isdigit():
            raise RecordNotFound("model", model_id)
        profile = find_profile(self.settings.profile)
        if self.backend_url is not None:
            profile = Profile(
                backend_url=self.backend_url, tenant=profile.tenant, token_path=profile.token_path
            )
        backend = open_backend(self._home, profile)
        try:
            model = backend.get_model(int(model_id))
            folder = model_folder(backend, model, lambda: None, most_bytes=self.most_model_bytes)
        finally:
            backend.close()
        return as_mapping(model, path=folder)

    def _audience(self) -> str:
        if not self._name:
            from ray import serve  # in replicas, where it is loaded

            self._name = serve.get_replica_context().app_name
        return self._name

"""Each test is written once, for a synchronous caller, and runs over every surface.

The async surfaces are driven by `Driver`: coroutines run on a private event loop, async iterators and context managers
look like their plain twins, and a test's plain functions run in a thread beside the loop, as `asyncio.to_thread` does.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import os
import threading
import typing
import zlib

import pytest
import uvicorn
from list_prices import ListPrices

import agentmemo
from agentmemo.api.operations import BY_NAME
from agentmemo.client._async.pages import AsyncPage
from agentmemo.client._async.plane import AsyncPlane
from agentmemo.client._sync.plane import Plane
from agentmemo.client.http_async import AsyncHttpTransport
from agentmemo.client.http_sync import HttpTransport
from agentmemo.model.access import EVERYTHING, Caller, CreateKey
from agentmemo.server.app import create_app
from agentmemo.server.serve import bind
from agentmemo.settings import Settings
from agentmemo.testing import ManualPlane
from agentmemo.testing.plane import AsyncManualTransport, ManualTransport

OURS = "agentmemo.client._async."
# BEHAVIOUR_STORES=postgres-bare: the same without prepared statements and notifications, as behind a pooler.
STORES = os.environ.get("BEHAVIOUR_STORES", "sqlite,postgres").split(",")
ALL_SURFACES = bool(os.environ.get("BEHAVIOUR_ALL_SURFACES"))
BARE = {"postgres_prepare": False, "postgres_notify": False}
SURFACES = ("sync", "async", "http", "http async")
# Each store embedded and over HTTP, for sync and async callers, and each surface on one of them.
SURFACES_ON_SQLITE = ("sync", "http async")
SURFACES_ON_POSTGRES = ("async", "http")
SYNC_SURFACES = ("sync", "http")


def pytest_configure(config):
    config.addinivalue_line("markers", "promise(id): the promise of promises.py that the test shows")
    config.addinivalue_line("markers", "surfaces(*names): what the test runs over, where not over all")


def pytest_generate_tests(metafunc):
    if "surface" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("surfaces")
        metafunc.parametrize("surface", marker.args if marker else SURFACES, indirect=True)


@pytest.fixture(params=STORES)
def plane(request, tmp_path):
    """A plane on each kind of store."""
    place = tmp_path / "plane.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    settings = Settings(postgres_allow_lossy=True, **(BARE if request.param == "postgres-bare" else {}))
    made = ManualPlane(place, settings=settings, prices=ListPrices())
    yield made
    made.close()


def pytest_collection_modifyitems(config, items):
    """Two surfaces on each store stand for all eight pairs, unless these are asked for.

    What shows a promise first is run on the four. Whatever else shows of it, each case is run on both stores, embedded
    on one and over HTTP on the other, for a sync or an async caller: one of the two is generated from the other.
    """
    if not ALL_SURFACES:
        chosen = _Chosen()
        kept = [item for item in items if chosen.has(item)]
        config.hook.pytest_deselected(items=list(set(items) - set(kept)))
        items[:] = kept


class _Chosen:
    def __init__(self):
        self._first = {}  # the case that shows a promise first, by promise

    def has(self, item):
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if item.get_closest_marker("surfaces") or not {"plane", "surface"} <= set(parameters):
            return True
        surface = parameters["surface"]
        if surface not in (SURFACES_ON_SQLITE if parameters["plane"] == "sqlite" else SURFACES_ON_POSTGRES):
            return False
        case = _case(item)
        promises = [promise for marker in item.iter_markers("promise") for promise in marker.args]
        if case in [self._first.setdefault(promise, case) for promise in promises]:
            return True
        return (surface in SYNC_SURFACES) == zlib.crc32(case.encode()) % 2


def _case(item):
    """The test and its other parameters."""
    others = sorted((name, at) for name, at in item.callspec.indices.items() if name not in {"plane", "surface"})
    return f"{item.nodeid.partition('[')[0]} {others}"


class Switchboard:
    """One real server for the whole session; each test plugs in the application of its own plane."""

    def __init__(self):
        self.surface = None
        self._listener = bind("127.0.0.1", 0)
        self._listener.listen()  # who calls before the server accepts is kept waiting, not refused
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(self, log_config=None, ws="none", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]}, daemon=True)
        self._thread.start()

    async def __call__(self, scope, receive, send):
        await self.surface.app()(scope, receive, send)

    def close(self):
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()


@pytest.fixture(scope="session")
def switchboard():
    made = Switchboard()
    yield made
    made.close()


@pytest.fixture
def surface(request, plane):
    over_http = request.param.startswith("http")
    made = Surface(request.param, plane, request.getfixturevalue("switchboard") if over_http else None)
    yield made
    made.close()


@pytest.fixture(params=("sync", "http"))
def make_surface(request):
    """For tests that make many planes: a surface of each, embedded or over the one server of the session."""
    over_http = request.param == "http"
    board = request.getfixturevalue("switchboard") if over_http else None
    return functools.partial(Surface, request.param, switchboard=board)


@pytest.fixture
def agent(surface):
    """A connection of the agent `agent`."""
    return surface.connect()


class Surface:
    """One way to call a plane. `connect` gives something that behaves as a `Connection`."""

    def __init__(self, kind: str, plane: ManualPlane, switchboard):
        self.kind = kind
        self.plane = plane
        self._driver = Driver() if kind.endswith("async") else None
        self._switchboard = switchboard
        self._served = None
        self._app = None
        if switchboard:
            switchboard.surface = self
            restart = plane.restart
            plane.restart = lambda: (restart(), self._lease_ends())

    def app(self):
        """The application of the plane as it is now: after a restart it is another one."""
        if self._served is not self.plane.local:
            self._served = self.plane.local
            self._app = create_app(self._served)
        return self._app

    def connect(self, agent=None, *, person=None, workspace="default", grants=None):
        if self._switchboard:
            return self._connect_http(agent, person, workspace, grants)
        if self._driver is None:
            return self.plane.connect(agent, person=person, workspace=workspace, grants=grants)
        made = self.plane.connect_async(agent, person=person, workspace=workspace, grants=grants)
        return self._driver.wrap(self._driver.run(made))

    def raw(self, connection):
        """The connection itself, for `plane.kill` and `plane.pause`."""
        return connection._target if isinstance(connection, Twin) else connection

    def kill(self, connection):
        self.plane.kill(self.raw(connection))
        if self._switchboard:
            self._lease_ends()

    def pause(self, connection):
        self.plane.pause(self.raw(connection))

    def current_step(self):
        found = agentmemo.current_step()
        return self._driver.wrap(found) if self._driver else found

    def close(self):
        if self._driver:
            self._driver.close()
        if self._app:
            self._app.stop()

    def _lease_ends(self):
        """No lock of this machine tells a plane that its caller over HTTP is dead; the end of the lease does."""
        self.plane.advance(self.plane.settings.lease_seconds + 1)

    def _connect_http(self, agent, person, workspace, grants):
        link = self.plane._link(agent, person, workspace, grants)
        caller = link.caller
        admin = Caller(kind="service", name="tests", grants=(EVERYTHING,), workspace=workspace)
        request = CreateKey(kind=caller.kind, actor=caller.name, grants=list(caller.grants), expires_in_days=None)
        key = self.plane.engine.call(BY_NAME["key.create"], admin, request).secret
        limit = self.plane.settings.request_bytes_max
        lease = self.plane.settings.lease_seconds
        if self._driver is None:
            transport = ManualTransport(link, HttpTransport(self._switchboard.url, key, limit))
            made = agentmemo.Connection(Plane(transport, self.plane.clock, lease), caller.name)
            self.plane._connections.append(made)
        else:
            over = AsyncManualTransport(link, AsyncHttpTransport(self._switchboard.url, key, limit))
            made = agentmemo.AsyncConnection(AsyncPlane(over, self.plane.clock, lease), caller.name)
        link.connection = made
        return self._driver.wrap(made) if self._driver else made


class Driver:
    """A private event loop in a thread, and the plain face of everything asynchronous."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._local = threading.local()
        self._connections = []

    def run(self, awaitable):
        """The result of an awaitable. All calls of one thread share a context, so that ambient runs stay ambient."""
        context = getattr(self._local, "context", None)
        if context is None:
            context = self._local.context = contextvars.copy_context()
        done = threading.Event()
        tasks = []

        def begin():
            task = self._loop.create_task(_await(awaitable), context=context)
            tasks.append(task)
            task.add_done_callback(lambda _: done.set())

        self._loop.call_soon_threadsafe(begin)
        done.wait()
        return tasks[0].result()

    def wrap(self, value):
        if inspect.isawaitable(value):
            return self.wrap(self.run(value))
        if inspect.isasyncgen(value):
            return self._iterate(value)
        if isinstance(value, agentmemo.AsyncConnection):
            self._connections.append(value)
        if type(value).__module__.startswith(OURS):
            return Twin(self, value)
        if inspect.isroutine(value) or inspect.isfunction(value):
            return lambda *args, **options: self.wrap(
                value(*map(self.send, args), **{name: self.send(option) for name, option in options.items()})
            )
        return value

    def send(self, value):
        """An argument on its way in: a plain function becomes a coroutine function that runs it in a thread."""
        if isinstance(value, Twin):
            return value._target
        if not inspect.isfunction(value) or inspect.iscoroutinefunction(value):
            return value

        async def coroutine(*args, **options):
            given = [self.wrap(item) for item in args]
            named = {name: self.wrap(item) for name, item in options.items()}
            return await asyncio.to_thread(self._call, value, given, named)

        functools.update_wrapper(coroutine, value)
        del coroutine.__wrapped__
        coroutine.__annotations__ = typing.get_type_hints(value)
        coroutine.__signature__ = inspect.signature(value)
        return coroutine

    def close(self):
        for connection in self._connections:
            with_errors = self._quietly(connection)
            self.run(with_errors)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, function, args, options):
        # Calls that the function makes belong to its own context: inside its step, under its run.
        self._local.context = contextvars.copy_context()
        try:
            return function(*args, **options)
        finally:
            self._local.context = None

    async def _quietly(self, connection):
        try:
            await connection.close()
        except agentmemo.Error:
            return

    def _iterate(self, generator):
        try:
            while True:
                try:
                    yield self.run(anext(generator))
                except StopAsyncIteration:
                    return
        finally:
            self.run(generator.aclose())


class Twin:
    """An asynchronous object as its synchronous twin."""

    def __init__(self, driver, target):
        self._driver = driver
        self._target = target

    def __getattr__(self, name):
        return self._driver.wrap(getattr(self._target, name))

    def __enter__(self):
        return self._driver.wrap(self._target.__aenter__())

    def __exit__(self, *error):
        return self._driver.run(self._target.__aexit__(*error))

    def __iter__(self):
        return self._driver._iterate(self._target.__aiter__())

    def __len__(self):
        return len(self._target)

    def __getitem__(self, index):
        return self._target[index]

    def __eq__(self, other):
        return self._target == getattr(other, "_target", other)

    __hash__ = None


async def _await(awaitable):
    return await awaitable


assert AsyncPage.__module__.startswith(OURS)

"""The service's application: uploads in, predictions out, health, metrics, and a page."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from meshconv.errors import InputError
from meshconv.io.meshes.formats import mesh_suffixes
from meshconv.serve.worker import Answer, Worker

log = logging.getLogger(__name__)

FORMS = ("json", "ply", "netcdf")
_OWN_NAMES = ("localhost", "127.0.0.1", "[::1]")
_MAP_SUFFIXES = (".nc", ".nc4")
_PAGE = {"": ("index.html", "text/html"), "page.js": ("page.js", "text/javascript"),
         "page.css": ("page.css", "text/css")}  # fmt: skip
# The page loads nothing from elsewhere, and nothing that an upload or its name holds is run.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class _Metrics:
    """Counts of requests, in the text format of Prometheus."""

    def __init__(self, worker: Worker):
        self.worker, self.requests, self.seconds, self.active = worker, Counter[int](), 0.0, 0

    def text(self) -> str:
        lines = ["# TYPE meshconv_requests_total counter"]
        lines += [f'meshconv_requests_total{{status="{s}"}} {n}' for s, n in sorted(self.requests.items())]
        lines += [
            "# TYPE meshconv_prediction_seconds summary",
            f"meshconv_prediction_seconds_sum {self.seconds:.6f}",
            f"meshconv_prediction_seconds_count {sum(self.requests.values())}",
            "# TYPE meshconv_requests_active gauge",
            f"meshconv_requests_active {self.active}",
            "# TYPE meshconv_worker_starts_total counter",
            f"meshconv_worker_starts_total {self.worker.started}",
        ]
        return "\n".join(lines) + "\n"


def make_app(worker: Worker, hosts: Sequence[str] = _OWN_NAMES) -> Starlette:
    """The application of one network, for uvicorn or any other ASGI server.

    ``PUT`` or ``POST /predict/NAME?format=json|ply|netcdf`` takes the bytes of a file, whose ending says what it is;
    ``GET /health``, ``/metrics``, ``/info`` and ``/``, the page. Errors are one line of text.

    Parameters
    ----------
    worker : Worker
    hosts
        Names by which the service may be called: a page of another site cannot give itself one.

    Examples
    --------
    ::

        curl -T hand.ply 'http://127.0.0.1:8000/predict/hand.ply?format=ply' -o labelled.ply
    """
    metrics = _Metrics(worker)
    waiting = asyncio.Semaphore(1)

    async def predict(request: Request) -> Response:
        if metrics.active >= worker.limits.waiting:
            metrics.requests[503] += 1
            return PlainTextResponse("too many requests are waiting; try again", 503, {"Retry-After": "5"})
        start = time.perf_counter()
        metrics.active += 1
        try:
            answer = await _answer(request, worker, waiting)
        except ClientDisconnect:
            answer = Answer(400, b"the upload ended early")
        finally:
            metrics.active -= 1
            metrics.seconds += time.perf_counter() - start
        metrics.requests[answer.status] += 1
        line = answer.content if answer.status == 200 else _one_line(answer.content, request)
        return Response(line, answer.status, media_type=answer.media_type)

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok", "task": worker.info["task"]})

    async def info(_: Request) -> Response:
        return JSONResponse({**worker.info, "suffixes": _suffixes(worker), "megabytes": worker.limits.megabytes})

    async def numbers(_: Request) -> Response:
        return PlainTextResponse(metrics.text())

    async def page(request: Request) -> Response:
        name, kind = _PAGE[request.url.path.lstrip("/")]
        return Response((files("meshconv.serve") / "page" / name).read_bytes(), media_type=kind)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        worker.close()

    routes = [
        Route("/predict/{name:path}", predict, methods=["PUT", "POST"]),
        Route("/health", health), Route("/info", info), Route("/metrics", numbers),
        *(Route(f"/{path}", page) for path in _PAGE),
    ]  # fmt: skip
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts)), Middleware(_Headers)]
    app = Starlette(routes=routes, middleware=middleware, lifespan=lifespan)
    app.router.redirect_slashes = False  # an upload without a name is no path to be mended, but a mistake
    return app


def run(worker: Worker, host: str = "127.0.0.1", port: int = 8000, names: Sequence[str] = ()) -> None:
    """Serve until an interruption.

    Parameters
    ----------
    worker : Worker
    host, port
        Where to listen.
    names
        Host names by which clients may call it, besides those of this machine and ``host``.

    Raises
    ------
    InputError
        The port is taken, or the address is none of this machine.
    """
    import uvicorn

    if not 0 <= port < 65536:
        raise InputError(f"port {port} is not between 0 and 65535")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        worker.close()
        raise InputError(f"{host}:{port}: {error.strerror}; give another --port or --host") from error
    log.info("http://%s:%d: %s of %s", host, port, worker.info["task"], worker.info["takes"])
    config = uvicorn.Config(make_app(worker, [*_OWN_NAMES, host, *names]), host, port, log_level="warning",
                            timeout_keep_alive=5)  # fmt: skip
    uvicorn.Server(config).run()


class _Headers:
    """Adds the headers of every answer."""

    def __init__(self, app):  # type: ignore[no-untyped-def]
        self.app = app

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        async def with_headers(message) -> None:  # type: ignore[no-untyped-def]
            if message["type"] == "http.response.start":
                message["headers"] += [(k.lower().encode(), v.encode()) for k, v in _HEADERS.items()]
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


def _suffixes(worker: Worker) -> list[str]:
    return list(_MAP_SUFFIXES) if worker.info["takes"] == "maps" else mesh_suffixes()


async def _answer(request: Request, worker: Worker, waiting: asyncio.Semaphore) -> Answer:
    form = request.query_params.get("format", "json")
    if form not in FORMS:
        return Answer(400, f"format {form[:40]!r}: give {', '.join(FORMS)}".encode())
    # Of the name only its ending is used: it is no path here, and is shown to nobody else.
    suffix = Path(request.path_params["name"]).suffix.lower()
    if suffix not in _suffixes(worker):
        takes = ", ".join(_suffixes(worker))
        return Answer(415, f"files that end in {suffix[:20]!r} are not read here; upload {takes}".encode())
    most = int(worker.limits.megabytes * 1e6)
    too_large = Answer(413, f"the file is larger than {worker.limits.megabytes:g} MB".encode())
    if int(request.headers.get("content-length", "0") or 0) > most:
        return too_large
    with tempfile.TemporaryDirectory(prefix="meshconv-") as folder:
        path = Path(folder) / f"upload{suffix}"
        size = 0
        with path.open("wb") as stream:
            async for block in request.stream():
                size += len(block)
                if size > most:
                    return too_large
                stream.write(block)
        if not size:
            return Answer(400, b"the upload is empty; send the bytes of a file")
        async with waiting:
            return await asyncio.to_thread(worker.predict, path, form)


def _one_line(content: bytes, request: Request) -> bytes:
    """A message in one line, of printable characters."""
    text = content.decode("utf-8", errors="replace").replace("\n", " ")
    return (re.sub(r"[^\x20-\x7e\u00a0-\uffff]", "?", text)[:500] + "\n").encode()

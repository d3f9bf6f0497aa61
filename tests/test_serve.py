"""The service: every request is answered, bad ones by one line, and nothing of an upload's name or content is run."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import needs_browser, visit
from map_case import maps, save, weather
from segments import body, write_bodies

from meshconv import InputError, Predictor
from meshconv.cli import main
from meshconv.datasets import MeshFolder, MeshSegments, write_shapes
from meshconv.io import read_mesh, save_mesh
from meshconv.serve import Limits, Worker, make_app
from meshconv.train import ClassificationTask, SegmentationTask

pytestmark = pytest.mark.slow


def checkpoint(task, path: Path) -> Path:
    content = {"state_dict": task.state_dict(), "hyper_parameters": dict(task.hparams)}
    task.on_save_checkpoint(content)
    torch.save(content, path)
    return path


class Service:
    """The application behind uvicorn on a free port of this machine."""

    def __init__(self, network: Path, routes=(), **limits):
        import uvicorn

        self.worker = Worker(network, Limits(**limits))
        app = make_app(self.worker)
        app.router.routes[:0] = routes
        self.server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, log_level="error"))
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    def __call__(self, method: str, path: str, content: bytes = b"", **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    write_bodies(folder / "set", "faces", 3)
    data = MeshSegments(str(folder / "set"), element="faces", cache=False, workers=0, num_levels=2)
    options = {"channels": [4, 4], "width": 8}
    task = SegmentationTask("ShapeUNet", str(data.in_type), data.class_names, data.spec, options).eval()
    return checkpoint(task, folder / "last.ckpt")


@pytest.fixture(scope="module")
def service(segmenter):
    running = Service(segmenter, megabytes=1.0, seconds=30.0)
    yield running
    running.close()


@pytest.fixture
def mesh(tmp_path):
    save_mesh(body(7), tmp_path / "mine.ply")
    return tmp_path / "mine.ply"


def test_answers_are_the_predictions(service, segmenter, mesh, tmp_path):
    expected = Predictor(segmenter, cache=False, workers=0)(mesh)
    status, content = service("PUT", "/predict/mine.ply", mesh.read_bytes())
    found = json.loads(content)
    assert status == 200 and found["labels"] == expected.labels.tolist() and found["element"] == "faces"
    status, content = service("POST", "/predict/mine.ply?format=ply", mesh.read_bytes())
    (tmp_path / "out.ply").write_bytes(content)
    assert status == 200 and read_mesh(tmp_path / "out.ply").face_data["label"].tolist() == expected.labels.tolist()
    assert json.loads(service("GET", "/health")[1])["status"] == "ok"
    info = json.loads(service("GET", "/info")[1])
    assert info["takes"] == "meshes" and ".ply" in info["suffixes"]


def test_bad_uploads_are_one_line(service, mesh):
    content = mesh.read_bytes()
    cases = {
        ("/predict/x.ply", b"ply\nnothing"): 422,
        ("/predict/x.ply", b""): 400,
        ("/predict/x.exe", content): 415,
        ("/predict/x", content): 415,
        ("/predict/x.ply?format=exe", content): 400,
        ("/predict/x.ply?format=netcdf", content): 422,
        ("/predict/x.ply", content + bytes(1_000_000)): 413,
        ("/predict/x.nc", content): 415,
    }
    for (path, sent), wanted in cases.items():
        status, said = service("PUT", path, sent)
        assert status == wanted, (path, said)
        assert said.endswith(b"\n") and said.count(b"\n") == 1 and b"Traceback" not in said and b"/tmp" not in said
    assert service("GET", "/predict/x.ply")[0] == 405
    assert service("PUT", "/predict", content)[0] == 404
    assert service("GET", "/nowhere")[0] == 404


def test_names_are_no_paths_and_run_nothing(service, mesh, tmp_path):
    content = mesh.read_bytes()
    names = ["..%2F..%2Ftmp%2Fevil.ply", "../../../etc/passwd.ply", "%00.ply", "%3Cscript%3Ealert(1)%3C/script%3E.ply",
             "x;rm%20-rf%20~.ply", "%E2%80%AE.ply"]  # fmt: skip
    for name in names:
        status, said = service("PUT", f"/predict/{name}", content)
        assert status == 200, (name, said)
        status, said = service("PUT", f"/predict/{name}", b"ply\nbad")
        assert status == 422 and b"script" not in said and b"evil" not in said and b"etc" not in said
    assert service("PUT", "/predict/a%0d%0aSet-Cookie:%20x=1.ply", content)[0] == 404
    assert service("PUT", "/predict/x.%3Cscript%3Ealert(1)", content)[0] == 415
    connection = http.client.HTTPConnection("127.0.0.1", service.port)
    connection.request("GET", "/")
    answer = connection.getresponse()
    page, policy = answer.read().decode(), answer.getheader("content-security-policy")
    connection.close()
    assert "default-src 'self'" in policy and "http://" not in page and "https://" not in page
    script = service("GET", "/page.js")[1].decode()
    assert "innerHTML" not in script and "https://" not in script and "eval(" not in script
    for path in ("/page/../app.py", "/%2e%2e/app.py", "/page.js/../../worker.py"):
        assert service("GET", path)[0] == 404
    assert service("PUT", "/predict/x.ply", content, Host="evil.example")[0] == 400


def memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_200_requests_of_8_clients(service, mesh):
    """None is lost, answers are the same, and memory stays."""
    content = mesh.read_bytes()
    expected = service("PUT", "/predict/x.ply", content)

    def ask(_):
        return service("PUT", "/predict/x.ply", content)

    with ThreadPoolExecutor(8) as clients:
        assert set(clients.map(ask, range(40))) == {expected}
        before = memory(service.worker.pid)
        assert set(clients.map(ask, range(160))) == {expected}
    assert memory(service.worker.pid) - before < 20e6
    numbers = service("GET", "/metrics")[1].decode()
    assert f"meshconv_worker_starts_total {service.worker.started}" in numbers
    counted = next(line for line in numbers.splitlines() if line.startswith('meshconv_requests_total{status="200"}'))
    assert int(counted.split()[1]) >= 201


def test_the_time_limit_ends_the_process_and_the_next_request_is_answered(segmenter, mesh):
    service = Service(segmenter, seconds=0.001)
    try:
        status, said = service("PUT", "/predict/x.ply", mesh.read_bytes())
        assert status == 504 and said == b"the prediction takes more than 0.001 s\n"
        assert service("GET", "/health")[0] == 200
        object.__setattr__(service.worker.limits, "seconds", 30.0)
        assert service("PUT", "/predict/x.ply", mesh.read_bytes())[0] == 200
        assert service.worker.started == 2
    finally:
        service.close()


def test_classes_and_maps(tmp_path):
    shapes = write_shapes(tmp_path / "shapes", train=2, test=1, seed=1)[0].parents[2]
    data = MeshFolder(str(shapes), cache=False, workers=0)
    options = {"channels": 4, "blocks": 1, "width": 8}
    task = ClassificationTask("ShapeClassifier", str(data.in_type), data.class_names, data.spec, options).eval()
    file = sorted(shapes.rglob("test/*"))[0]
    service = Service(checkpoint(task, tmp_path / "classes.ckpt"))
    try:
        found = json.loads(service("PUT", f"/predict/{file.name}", file.read_bytes())[1])
        assert found["class"] == Predictor(task, cache=False, workers=0)(file).label
        status, content = service("PUT", f"/predict/{file.name}?format=ply", file.read_bytes())
        assert status == 200 and content.startswith(b"ply")
    finally:
        service.close()
    map_data = maps(save(weather(), tmp_path / "a.nc"))
    given = str(map_data.in_type), map_data.class_names, map_data.spec
    task = SegmentationTask("PixelwiseNetwork", *given, {"width": 4})
    service = Service(checkpoint(task.eval(), tmp_path / "maps.ckpt"))
    try:
        import xarray as xr

        status, content = service("PUT", "/predict/a.nc?format=netcdf", (tmp_path / "a.nc").read_bytes())
        expected = Predictor(task, cache=False)(tmp_path / "a.nc")
        (tmp_path / "b.nc").write_bytes(content)
        with xr.open_dataset(tmp_path / "b.nc", mask_and_scale=False) as opened:
            np.testing.assert_array_equal(opened["label"], expected["label"])
        values = json.loads(service("PUT", "/predict/a.nc", (tmp_path / "a.nc").read_bytes())[1])
        np.testing.assert_array_equal(values["label"]["values"], expected["label"])
        assert service("PUT", "/predict/a.nc?format=ply", (tmp_path / "a.nc").read_bytes())[0] == 422
        assert service("PUT", "/predict/a.nc", b"CDF\x01")[0] == 422
    finally:
        service.close()


@needs_browser
def test_the_page_shows_labels_in_their_colours(segmenter, mesh, tmp_path):
    """As a browser draws it, under the headers of the service; a script drops the file."""
    from starlette.responses import Response
    from starlette.routing import Route

    page = (files("meshconv.serve") / "page" / "index.html").read_text()
    script = "fetch('/mine.ply').then((r) => r.blob()).then((b) => send(new File([b], 'mine.ply')));"
    texts = {"/": (page.replace("</body>", '<script src="/drop.js"></script></body>'), "text/html"),
             "/drop.js": (script, "text/javascript"), "/mine.ply": (mesh.read_bytes(), "model/ply")}  # fmt: skip
    routes = [Route(path, lambda _, text=text: Response(text[0], media_type=text[1])) for path, text in texts.items()]
    service = Service(segmenter, routes)
    try:
        pixels, elements, console = visit(f"http://127.0.0.1:{service.port}/", tmp_path / "page.png", (1100, 760))
        counts = json.loads(service("PUT", "/predict/mine.ply", mesh.read_bytes())[1])["classes"]
    finally:
        service.close()
    assert "mine.ply: 162 vertices, 320 faces" in elements and "Save mine_predicted.ply" in elements
    assert not [line for line in console if "favicon" not in line]
    for name, count in counts.items():
        assert re.search(rf"{name}</td><td>{count}</td>", elements)
    swatches = re.findall(r"background: rgb\((\d+), (\d+), (\d+)\)", elements)
    assert len(swatches) == len(counts) >= 1
    view = pixels[:, :730]  # of the canvas: shades of the colours of the labels
    for colour in np.array(swatches, dtype=float):
        shades = view / np.maximum(view.sum(-1, keepdims=True), 1) - colour / colour.sum()
        assert ((np.abs(shades).max(-1) < 0.02) & (np.ptp(view, axis=-1) > 30)).sum() > 2000


def test_networks_that_cannot_be_served(tmp_path, capsys):
    (tmp_path / "bad.ckpt").write_bytes(b"nothing")
    assert main(["serve", str(tmp_path / "bad.ckpt")]) == 2
    assert capsys.readouterr().err.startswith("meshconv: error: ")
    with pytest.raises(InputError, match="seconds 0 is not a positive number"):
        Limits(seconds=0)

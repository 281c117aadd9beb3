"""Helpers of the data set tests: small .h5ad files, a web server on this machine, the mirror."""

import contextlib
import functools
import http.server
import os
import threading
import zlib
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from noise_scaling import datasets


@pytest.fixture
def make_adata():
    """A valid AnnData of 30 cells x 8 genes with one of each kind of signal; change it at will."""

    def make(n_cells=30, n_genes=8):
        rng = np.random.default_rng(0)
        counts = rng.poisson(3, (n_cells, n_genes)) + np.eye(n_cells, n_genes, dtype=int)
        counts[:, 0] += 1
        obs = pd.DataFrame(
            {
                "type": pd.Categorical(rng.choice(["T", "B", "NK"], n_cells)),
                "day": rng.choice([2, 4, 6], n_cells),
                "score": rng.normal(size=n_cells),
                "clone": [f"c{i // 3}" for i in range(n_cells)],
                "section": ["left", "right"] * (n_cells // 2) + ["left"] * (n_cells % 2),
            },
            index=[f"cell{i}" for i in range(n_cells)],
        )
        adata = anndata.AnnData(
            sp.csr_matrix(counts.astype(np.float32)), obs, pd.DataFrame(index=[f"g{i}" for i in range(n_genes)])
        )
        adata.obsm["protein"] = rng.normal(size=(n_cells, 3))
        adata.obsm["spatial"] = rng.uniform(size=(n_cells, 2))
        return adata

    return make


@pytest.fixture
def small_source():
    """Skip unless the files of a small real data set can be read without network."""

    def need(name):
        folder = Path(os.environ.get("NOISE_SCALING_MIRROR", "nowhere"))
        if not all((folder / file.name).exists() for file in datasets.card(name).files):
            pytest.skip(f"NOISE_SCALING_MIRROR has no {name}")

    return need


@pytest.fixture
def load_small(small_source):
    """Load a small data set once for all tests, or skip where its files are not at hand."""

    def load(name, signal=None):
        small_source(name)
        return _load(name, signal)

    return load


@functools.cache
def _load(name, signal):
    return datasets.load(name, signal=signal)


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """No mirror, and an empty cache of the test's own."""
    monkeypatch.delenv("NOISE_SCALING_MIRROR", raising=False)
    monkeypatch.setenv("NOISE_SCALING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "cache"


class _Served(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.lstrip("/")
        if path not in self.server.files:
            self.send_error(404)
            return
        with self.server.counting:
            self.server.now += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.now)
        with contextlib.suppress(ConnectionError):
            self._answer(self.server.files[path])
        with self.server.counting:
            self.server.now -= 1
        self.close_connection = True

    def _answer(self, body):
        start, tag = 0, f'"{zlib.crc32(body)}"'
        same = not self.server.tags or self.headers.get("If-Range", tag) == tag
        if self.server.ranges and "Range" in self.headers and same:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                self.send_error(416)
                return
        self.server.asked.append(self.headers.get("Range"))
        self.send_response(206 if start else 200)
        headers = {"Content-Length": str(len(body) - start)} | ({"ETag": tag} if self.server.tags else {})
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        for name, value in (headers | self.server.headers).items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        end = self.server.break_after.pop() if self.server.break_after else len(body)
        self.wfile.write(body[start:end])
        if end < len(body):
            self.server.go_on.wait(10)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    """A web server on this machine: put bodies into .files, see .asked and .most_at_once.

    .break_after breaks one answer off, at once or when .go_on is set; .headers replaces or (None) hides some; .ranges
    and .tags say whether it resumes and tells versions of a file apart.
    """
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Served)
    httpd.files, httpd.asked, httpd.break_after, httpd.headers = {}, [], [], {}
    httpd.ranges, httpd.tags, httpd.now, httpd.most_at_once = True, True, 0, 0
    httpd.counting, httpd.go_on = threading.Lock(), threading.Event()
    httpd.go_on.set()
    httpd.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield httpd
    httpd.shutdown()
    httpd.server_close()
    thread.join()

"""Data sets of OpenML, from a server on this machine that speaks as OpenML does."""

import gzip
import hashlib
import json
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import _openml

from skcgmvae.datasets import fetch_multilabel, load_arff

ARFF = """\
@relation music
@attribute tempo numeric
@attribute vocals {yes,no}
@attribute key {C,G,'D minor'}
@attribute year numeric
@attribute calm {FALSE,TRUE}
@attribute glad {FALSE,TRUE}
@data
0.5,yes,C,1999,TRUE,FALSE
2,no,'D minor',2001,FALSE,FALSE
?,yes,G,?,TRUE,TRUE
"""
X = [[0.5, 1, 1, 0, 0, 1999], [2, 0, 0, 0, 1, 2001], [np.nan, 1, 0, 1, 0, np.nan]]
Y = [[1, 0], [0, 0], [1, 1]]
FEATURES = ["tempo", "vocals", "key=C", "key=G", "key=D minor", "year"]
# Rows leave out zeros, and the first of a nominal attribute's values.
SPARSE = ARFF.partition("@data")[0] + (
    "@data\n{0 0.5,3 1999,4 TRUE}\n{0 2,1 no,2 'D minor',3 2001}\n{2 G,4 TRUE,5 TRUE}\n"
)


class OpenML:
    """What the server has, and what it was asked for."""

    def __init__(self):
        self.answers = {}
        self.requests = []
        self.compress = False
        self.closing = threading.Event()

    def add(self, number, name, arff, labels=("calm", "glad"), checksum=None):
        """Add a data set."""
        file = f"/data/v1/download/{number}"
        names = [
            line.split()[1] for line in arff.splitlines() if line.startswith("@attr")
        ]
        nominal = {line.split()[1] for line in arff.splitlines() if " {" in line}
        features = [
            {
                "index": str(index),
                "name": each,
                "data_type": "nominal" if each in nominal else "numeric",
                "is_target": str(each in labels).lower(),
                "is_ignore": "false",
                "is_row_identifier": "false",
                "number_of_missing_values": "0",
            }
            for index, each in enumerate(names)
        ]
        rows = arff.partition("@data\n")[2]
        description = {
            "id": str(number),
            "name": name,
            "version": "1",
            "description": f"All about {name}.",
            "format": "Sparse_ARFF" if rows.startswith("{") else "ARFF",
            "status": "active",
            "url": f"https://www.openml.org{file}",
            "file_id": str(number),
            "md5_checksum": checksum or hashlib.md5(arff.encode()).hexdigest(),
        }
        quality = {"name": "NumberOfInstances", "value": f"{rows.count(chr(10))}.0"}
        api = "/api/v1/json/data"
        for path, answer in {
            f"{api}/{number}": {"data_set_description": description},
            f"{api}/features/{number}": {"data_features": {"feature": features}},
            f"{api}/qualities/{number}": {"data_qualities": {"quality": [quality]}},
        }.items():
            self.answers[path] = json.dumps(answer)
        self.answers[file] = arff


@pytest.fixture
def openml(tmp_path, monkeypatch):
    """A server to which all that scikit-learn asks of OpenML goes."""
    content = OpenML()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content.requests.append(self.path)
            answer = content.answers.get(self.path)
            if answer is None:
                self.send_error(404)
                return
            if answer == "silence":
                content.closing.wait(5)
                return
            body = answer.encode()
            self.send_response(200)
            if content.compress and self.headers["Accept-encoding"] == "gzip":
                body = gzip.compress(body)
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    content.server = server
    address = f"127.0.0.1:{server.server_port}"

    def urlopen_here(request):
        url = urlsplit(request.full_url)._replace(scheme="http", netloc=address)
        return urlopen(Request(url.geturl(), headers=request.headers))

    monkeypatch.setattr(_openml, "urlopen", urlopen_here)
    monkeypatch.setattr(_openml.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "default"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield content
    content.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_bunch(openml):
    openml.add(40589, "emotions", ARFF)
    music = fetch_multilabel("emotions")
    assert set(music) == {
        "data",
        "target",
        "frame",
        "feature_names",
        "target_names",
        "DESCR",
    }
    assert music.frame is None
    assert music.DESCR.startswith("All about emotions.")
    assert music.feature_names == FEATURES
    assert music.target_names == ["calm", "glad"]
    assert (music.data.dtype, music.target.dtype) == (np.float64, np.uint8)
    np.testing.assert_array_equal(music.data, X)
    np.testing.assert_array_equal(music.target, Y)


def test_agrees_with_load_arff(openml, tmp_path):
    path = tmp_path / "music.arff"
    for text in (ARFF, SPARSE):
        openml.add(40589, "emotions", text)
        path.write_text(text)
        data, target = fetch_multilabel("emotions", cache=False, return_X_y=True)
        expected, labels = load_arff(path, labels=["calm", "glad"], return_X_y=True)
        assert sp.issparse(data) == sp.issparse(target) == (text is SPARSE)
        for ours, theirs in [(data, expected), (target, labels)]:
            if text is SPARSE:
                ours, theirs = ours.toarray(), theirs.toarray()
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["langlog", "langLog", "LANGLOG"])
def test_name_in_any_case(openml, name):
    openml.add(41469, "langLog", ARFF)
    assert fetch_multilabel(name, return_X_y=True)[0].shape == (3, 6)


def test_label_columns_may_be_anywhere(openml):
    openml.add(40597, "yeast", ARFF, labels=("vocals", "glad"))
    yeast = fetch_multilabel("yeast")
    assert yeast.target_names == ["vocals", "glad"]
    np.testing.assert_array_equal(yeast.target, [[1, 0], [0, 0], [1, 1]])
    assert yeast.feature_names[-1] == "calm"
    np.testing.assert_array_equal(yeast.data[:, -1], [1, 0, 1])


def test_numeric_labels(openml):
    text = "@relation x\n@attribute a numeric\n@attribute b numeric\n"
    text += "@attribute c numeric\n@data\n"
    for rows in ("0.5,1,0\n2,0,0\n", "{0 0.5,1 1}\n{0 2}\n"):
        openml.add(40597, "yeast", text + rows, labels=("b", "c"))
        _, target = fetch_multilabel("yeast", cache=False, return_X_y=True)
        target = target.toarray() if sp.issparse(target) else target
        np.testing.assert_array_equal(target, [[1, 0], [0, 0]])
        assert target.dtype == np.uint8


def test_as_frame(openml):
    pytest.importorskip("pandas")
    openml.add(40589, "emotions", ARFF)
    music = fetch_multilabel("emotions", as_frame=True)
    assert list(music.data.columns) == FEATURES
    np.testing.assert_array_equal(music.data.to_numpy(), X)
    np.testing.assert_array_equal(music.target.to_numpy(), Y)
    assert list(music.frame.columns) == [*FEATURES, "calm", "glad"]
    data, target = fetch_multilabel("emotions", as_frame=True, return_X_y=True)
    assert data.equals(music.data) and target.equals(music.target)


def test_as_frame_of_sparse_data(openml):
    pytest.importorskip("pandas")
    openml.add(40589, "emotions", SPARSE)
    with pytest.raises(ValueError, match="as_frame=True needs dense data"):
        fetch_multilabel("emotions", as_frame=True)


def test_without_pandas(openml, monkeypatch):
    openml.add(40589, "emotions", ARFF)
    monkeypatch.setitem(sys.modules, "pandas", None)
    np.testing.assert_array_equal(fetch_multilabel("emotions").data, X)
    with pytest.raises(ImportError, match=r"fetch_multilabel\(as_frame=True\)"):
        fetch_multilabel("emotions", as_frame=True)


# -- The cache ---------------------------------------------------------------------


@pytest.mark.parametrize("compress", [False, True])
def test_cache(openml, tmp_path, compress):
    openml.compress = compress
    openml.add(40589, "emotions", ARFF)
    first = fetch_multilabel("emotions", data_home=tmp_path / "here")
    asked = len(openml.requests)
    assert asked > 0
    assert files(tmp_path / "here") and not files(tmp_path / "default")
    openml.answers.clear()
    second = fetch_multilabel("emotions", data_home=tmp_path / "here")
    assert len(openml.requests) == asked
    np.testing.assert_array_equal(first.data, second.data)
    # Another folder is another cache.
    openml.add(40589, "emotions", ARFF)
    fetch_multilabel("emotions")
    assert len(openml.requests) == 2 * asked
    assert files(tmp_path / "default")


def test_no_cache(openml, tmp_path):
    openml.add(40589, "emotions", ARFF)
    for _ in range(2):
        openml.requests.clear()
        fetch_multilabel("emotions", data_home=tmp_path / "here", cache=False)
        assert openml.requests
    assert not files(tmp_path)


# -- What goes wrong ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["iris", "", None, 40589])
def test_unknown_name(openml, name):
    known = "birds, emotions, enron, genbase, image, langlog, reuters, scene"
    with pytest.raises(ValueError, match=f"one of {known}, slashdot, yeast; {name!r} "):
        fetch_multilabel(name)
    assert not openml.requests


def test_other_data_set_than_asked_for(openml):
    openml.add(40589, "iris", ARFF)
    with pytest.raises(ValueError, match="40589 should be emotions.*'iris' came"):
        fetch_multilabel("emotions")


@pytest.mark.parametrize("labels", [(), ("calm",)])
def test_data_set_without_several_labels(openml, labels):
    openml.add(40589, "emotions", ARFF, labels=labels)
    with pytest.raises(ValueError, match=f"'emotions' came, with {len(labels)}"):
        fetch_multilabel("emotions")


@pytest.mark.parametrize("text", [ARFF, SPARSE])
def test_labels_of_other_values(openml, text):
    openml.add(40589, "emotions", text, labels=("vocals", "key"))
    with pytest.raises(ValueError, match="labels of emotions want to be of yes or no"):
        fetch_multilabel("emotions")


def test_damaged_download(openml):
    openml.add(40589, "emotions", ARFF, checksum="0" * 32)
    with (
        pytest.warns(RuntimeWarning, match="redownloading"),
        pytest.raises(ValueError, match="md5 checksum of "),
    ):
        fetch_multilabel("emotions")


def test_damaged_cache_is_replaced(openml, tmp_path):
    openml.add(40589, "emotions", ARFF)
    fetch_multilabel("emotions", data_home=tmp_path)
    (kept,) = (path for path in files(tmp_path) if "download" in str(path))
    kept.write_bytes(gzip.compress(ARFF.replace("0.5", "1.5").encode()))
    with pytest.warns(RuntimeWarning, match="redownloading"):
        music = fetch_multilabel("emotions", data_home=tmp_path)
    np.testing.assert_array_equal(music.data, X)


def test_not_found(openml):
    message = "does not give emotions, its data set 40589: it answers 404 Not Found"
    with (
        pytest.warns(UserWarning, match="Retrying"),
        pytest.raises(ConnectionError, match=message),
    ):
        fetch_multilabel("emotions")


def test_offline(openml):
    openml.server.shutdown()
    openml.server.server_close()
    message = "cannot be reached for emotions, .* refused.* without a connection"
    with (
        pytest.warns(UserWarning, match="Retrying"),
        pytest.raises(ConnectionError, match=message),
    ):
        fetch_multilabel("emotions")


@pytest.mark.filterwarnings("ignore:Invalid cache")
def test_server_that_does_not_answer(openml):
    openml.answers["/api/v1/json/data/40589"] = "silence"
    seconds = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.1)
    try:
        with (
            pytest.warns(UserWarning, match="Retrying"),
            pytest.raises(ConnectionError, match="cannot be reached.*timed out"),
        ):
            fetch_multilabel("emotions")
    finally:
        socket.setdefaulttimeout(seconds)

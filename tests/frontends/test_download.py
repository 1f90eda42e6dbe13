"""download() against a local server that can misbehave."""

import hashlib
import http.server
import threading

import pytest

from mxcore.errors import MXNetError
from mxcore.gluon import utils
from mxcore.gluon.download import check_sha1, download

CONTENT = bytes(range(256)) * 4000
SHA1 = hashlib.sha1(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        count = self.server.asked.count(self.path)
        if self.path == "/missing" or (self.path == "/busy" and count < 3):
            self.send_error(404 if self.path == "/missing" else 503)
            return
        content = b"bad" if self.path == "/damaged" or (self.path == "/once-damaged" and count == 1) else CONTENT
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:1000] if self.path == "/cut" and count == 1 else content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("mxcore.gluon.download.time.sleep", lambda seconds: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as it:
        it.asked = []
        it.url = f"http://127.0.0.1:{it.server_port}"
        thread = threading.Thread(target=it.serve_forever, daemon=True)
        thread.start()
        yield it
        it.shutdown()
        thread.join()


def test_a_file_is_fetched_once(server, tmp_path, capsys):
    target = tmp_path / "sub" / "file.bin"
    for _ in range(2):
        assert download(f"{server.url}/good", target, sha1_hash=SHA1) == str(target)
    assert target.read_bytes() == CONTENT and server.asked == ["/good"]
    assert capsys.readouterr().err == f"Downloading {server.url}/good (1.0 MB)\n"
    assert list(target.parent.iterdir()) == [target]


def test_where_the_file_goes(server, tmp_path, monkeypatch):
    assert download(f"{server.url}/good", tmp_path) == str(tmp_path / "good")
    assert download(f"{server.url}/good", f"{tmp_path}/new/") == str(tmp_path / "new" / "good")
    monkeypatch.chdir(tmp_path / "new")
    assert download(f"{server.url}/other") == "other"


def test_what_makes_it_fetch_again(server, tmp_path):
    target = tmp_path / "file"
    target.write_bytes(b"old")
    download(f"{server.url}/good", target)
    assert target.read_bytes() == b"old"
    download(f"{server.url}/good", target, sha1_hash=SHA1)
    assert target.read_bytes() == CONTENT
    download(f"{server.url}/good", target, overwrite=True)
    assert len(server.asked) == 2


@pytest.mark.parametrize(("path", "times"), [("/busy", 3), ("/once-damaged", 2), ("/cut", 2)])
def test_failures_that_pass(server, tmp_path, path, times):
    download(server.url + path, tmp_path / "file", sha1_hash=SHA1)
    assert (tmp_path / "file").read_bytes() == CONTENT and len(server.asked) == times


def test_mirrors_and_the_error_that_names_all(server, tmp_path):
    bad = [f"{server.url}/missing", f"{server.url}/damaged", "http://host.invalid/file"]
    assert download([*bad, f"{server.url}/good"], tmp_path / "file", sha1_hash=SHA1, retries=1)
    assert server.asked == ["/missing", "/damaged", "/damaged", "/good"]
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(MXNetError) as caught:
        download(bad, tmp_path / "file", sha1_hash=SHA1, retries=1)
    text = str(caught.value)
    assert "HTTP 404" in text and "SHA-1" in text and "tried 2 times" in text and "host.invalid" in text
    assert f"put the file at {tmp_path / 'file'} by hand" in text
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_arguments(tmp_path):
    with pytest.raises(AssertionError, match="retries"):
        download("http://127.0.0.1/x", tmp_path, retries=-1)
    with pytest.raises(MXNetError, match="address"):
        download("")


def test_names_of_mxnet(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    utils.replace_file(tmp_path / "a", tmp_path / "b")
    assert utils.check_sha1(str(tmp_path / "b"), "a9993e364706816aba3e25717850c26c9cd0d89d")
    assert not check_sha1(tmp_path / "b", SHA1)
    assert utils.download is download

"""An original comes whole and verified, or not at all, and its zip leaves its folder nowhere."""

import hashlib
import io
import socket
import stat
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from recbole_diffusion.cli import data, fetching
from recbole_diffusion.cli.main import main
from recbole_diffusion.config.paths import properties_dir

RATINGS = "".join(f"{user}::{item}::{1 + item % 5}::{item}\n" for user in (1, 2) for item in (3, 4))


def zipped(files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


ORIGINAL = zipped({"ml-1m/ratings.dat": RATINGS, "ml-1m/README": "licence"})
SHA256 = hashlib.sha256(ORIGINAL).hexdigest()


class Server:
    """A server of one file on this machine.

    Attributes:
        status, body, length, location: of the answer; ``length`` None leaves Content-Length out.
        asked (list of str): the paths that were asked for.
    """

    def __init__(self):
        self.status, self.body, self.length, self.location = 200, ORIGINAL, len(ORIGINAL), None
        self.asked = []
        state = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                state.asked.append(self.path)
                self.send_response(state.status)
                if state.length is not None:
                    self.send_header("Content-Length", str(state.length))
                if state.location is not None:
                    self.send_header("Location", state.location)
                self.end_headers()
                self.wfile.write(state.body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/ml-1m.zip"


@pytest.fixture
def server(monkeypatch):
    made = Server()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setattr(fetching, "SCHEMES", ("http",))
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def fetch(server, tmp_path, monkeypatch, capsys):
    """Returns a function that runs ``data fetch ml-1m`` against the server: code and words."""
    monkeypatch.chdir(tmp_path)
    about = data.known()["ml-1m"]

    def run(*options, sha256=SHA256, url=None, at_most=10_000):
        given = {"fetch": {"url": url or server.url, "at_most": at_most}}
        given["sha256"] = {"ml-1m.zip": sha256} if sha256 else {}
        monkeypatch.setattr(data, "known", lambda: {"ml-1m": about | given})
        code = main(["data", "fetch", "ml-1m", *options])
        said = capsys.readouterr()
        assert code == 0 or said.err.count("\n") == 1
        return code, said.out + said.err

    return run


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


WHOLE = ["raw/ml-1m.zip", "raw/ml-1m/README", "raw/ml-1m/ratings.dat"]


# ------------------------------------------------------------------ fetching


def test_what_is_fetched_is_verified_unpacked_and_prepared(fetch, tmp_path, capsys):
    code, said = fetch()
    assert code == 0 and f"{SHA256} (the original, by " in said and "licence" in said
    assert files(tmp_path) == WHOLE
    assert (tmp_path / "raw/ml-1m.zip").read_bytes() == ORIGINAL
    assert (tmp_path / "raw/ml-1m/ratings.dat").read_text() == RATINGS
    command = said.rsplit("next: recbole-diffusion ", 1)[1].split()
    assert main(command) == 0
    assert "(the original, by " in capsys.readouterr().out
    assert (tmp_path / "dataset/ml-1m/ml-1m.inter").read_text().count("\n") == 5


def test_what_is_there_is_not_fetched_again(fetch, server):
    fetch()
    code, said = fetch()
    assert code == 0 and "already there" in said and len(server.asked) == 1
    assert "the original" in said


def test_a_file_there_that_is_another_is_said_and_kept(fetch, server, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/ml-1m.zip").write_bytes(b"mine")
    code, said = fetch()
    assert code == 2 and "WARNING: not the original" in said and not server.asked
    assert (tmp_path / "raw/ml-1m.zip").read_bytes() == b"mine"


def test_another_file_than_the_original_is_refused_unless_it_is_asked_for(fetch, tmp_path):
    code, said = fetch(sha256="0" * 64)
    assert code == 2 and "is not the known original" in said and SHA256 in said
    assert files(tmp_path) == []
    code, said = fetch("--unverified", sha256="0" * 64)
    assert code == 0 and "WARNING: not the original" in said and files(tmp_path) == WHOLE


def test_a_file_of_unknown_hash_is_unverified(fetch):
    code, said = fetch(sha256=None)
    assert code == 0 and SHA256 in said and "UNVERIFIED" in said
    assert "UNVERIFIED" not in fetch()[1]  # control


@pytest.mark.parametrize("sent", [0, 1, len(ORIGINAL) - 1])
def test_a_cut_leaves_nothing_and_the_next_try_starts_clean(sent, fetch, server, tmp_path):
    for sha256 in (SHA256, None):
        server.body = ORIGINAL[:sent]
        code, said = fetch(sha256=sha256)
        assert code == 2 and f"was cut after {sent:,} of {len(ORIGINAL):,} bytes" in said
        assert files(tmp_path) == []
    server.body = ORIGINAL
    assert fetch()[0] == 0 and files(tmp_path) == WHOLE


@pytest.mark.parametrize("length", [len(ORIGINAL), None])
def test_more_bytes_than_allowed_are_not_taken(length, fetch, server, tmp_path):
    server.length = length
    code, said = fetch(at_most=len(ORIGINAL) - 1)
    assert code == 2 and "may have" in said and files(tmp_path) == []
    assert fetch(at_most=len(ORIGINAL))[0] == 0  # control


def test_without_a_network_it_is_said_what_to_do(fetch, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code, said = fetch(url=f"http://127.0.0.1:{port}/ml-1m.zip")
    assert code == 2 and "is there a network?" in said and "download it by hand" in said
    assert files(tmp_path) == []


def test_a_server_that_refuses_is_quoted(fetch, server, tmp_path):
    server.status = 404
    code, said = fetch()
    assert code == 2 and "answers 404" in said and files(tmp_path) == []


def test_nothing_is_asked_for_over_plain_http(fetch, server, monkeypatch, tmp_path):
    monkeypatch.setattr(fetching, "SCHEMES", ("https",))
    code, said = fetch()
    assert code == 2 and "is not https" in said and not server.asked and files(tmp_path) == []


@pytest.mark.parametrize("scheme", ["ftp", "https", "file"])
def test_a_redirect_to_another_scheme_is_not_followed(scheme, fetch, server, tmp_path):
    server.status, server.location = 302, f"{scheme}://127.0.0.1/ml-1m.zip"
    code, said = fetch()
    refused = "is not http: nothing is fetched" in said or "is not allowed" in said  # by urllib
    assert code == 2 and refused and files(tmp_path) == []
    assert len(server.asked) == 1


def test_a_set_that_is_not_served_names_its_page(fetch, capsys):
    assert main(["data", "fetch", "retail"]) == 2
    said = capsys.readouterr().err
    assert "kaggle.com" in said and "CC BY-NC-SA" in said
    assert main(["data", "fetch", "ml1m"]) == 2
    assert "did you mean 'ml-1m'" in capsys.readouterr().err


# ------------------------------------------------------------------ unpacking


def entry(name, kind=stat.S_IFREG):
    info = zipfile.ZipInfo("x")
    info.filename = name
    info.external_attr = (kind | 0o644) << 16
    return info


@pytest.mark.parametrize(
    "name, kind, words",
    [
        ("../up.txt", stat.S_IFREG, "out of its folder"),
        ("a/../../up.txt", stat.S_IFREG, "out of its folder"),
        ("/etc/up.txt", stat.S_IFREG, "out of its folder"),
        ("C:/up.txt", stat.S_IFREG, "out of its folder"),
        ("a\\..\\up.txt", stat.S_IFREG, "out of its folder"),
        ("a//b", stat.S_IFREG, "out of its folder"),
        ("a\nb", stat.S_IFREG, "out of its folder"),
        ("link", stat.S_IFLNK, "is a link or no file"),
        ("pipe", stat.S_IFIFO, "is a link or no file"),
        ("GOOD.TXT", stat.S_IFREG, "two files of one name"),
    ],
)
def test_a_zip_with_other_than_files_of_its_own_is_refused(name, kind, words, tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.txt", "x")
        archive.writestr(entry(name, kind), "/etc/passwd")
    with pytest.raises(fetching.FetchError, match=words):
        fetching.unpack(path, tmp_path / "a")
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]


def test_a_zip_of_files_is_unpacked_as_it_is(tmp_path):
    path = tmp_path / "a.zip"
    content = {"a/b.txt": "x", "c.txt": "y"}
    path.write_bytes(zipped(content | {"__MACOSX/c.txt": "z"}))
    assert sorted(fetching.unpack(path, tmp_path / "a")) == sorted(content)
    assert {name: (tmp_path / "a" / name).read_text() for name in content} == content
    assert files(tmp_path / "a") == sorted(content)
    with pytest.raises(fetching.FetchError, match="already there"):
        fetching.unpack(path, tmp_path / "a")


@pytest.mark.parametrize("claims", [True, False])
def test_a_zip_that_unpacks_beyond_all_proportion_is_refused(claims, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "UNSUSPECTED", 1 << 20)
    path = tmp_path / "a.zip"
    raw = bytearray(zipped({"a.txt": b"0" * (4 << 20)}))
    if not claims:  # the size in the central directory is a lie
        place = raw.rindex(b"PK\x01\x02") + 24
        raw[place : place + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(raw)
    with pytest.raises(fetching.FetchError, match="unpacks to more|cannot be unpacked"):
        fetching.unpack(path, tmp_path / "a")
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]
    monkeypatch.setattr(fetching, "UNSUSPECTED", 8 << 20)
    if claims:
        assert fetching.unpack(path, tmp_path / "a") == ["a.txt"]  # control


@pytest.mark.parametrize("damage", ["cut", "byte", "text"])
def test_a_damaged_zip_is_refused_and_leaves_nothing(damage, tmp_path):
    path, raw = tmp_path / "a.zip", bytearray(ORIGINAL)
    raw[50] ^= 255
    path.write_bytes({"cut": ORIGINAL[:-30], "byte": raw, "text": b"<html>"}[damage])
    with pytest.raises(fetching.FetchError, match="cannot be unpacked"):
        fetching.unpack(path, tmp_path / "a")
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]


# ------------------------------------------------------------------ what is known


def test_the_list_of_data_sets_names_no_file_without_https_and_no_hash_without_a_source():
    hashes = 0
    for name, about in data.known().items():
        if "fetch" in about:
            assert about["fetch"].keys() == {"url", "at_most"}
            assert about["fetch"]["url"].startswith("https://")
            assert about["fetch"]["url"].endswith(f"/{name}.zip")
        for digest in about.get("sha256", {}).values():
            assert len(digest) == 64 and set(digest) <= set("0123456789abcdef")
            hashes += 1
        assert ("sha256" in about) == ("sha256_from" in about)
    assert hashes == 12


def test_the_known_hashes_are_those_of_the_files(shared_path):
    for name, folder in (("jd", "jd"), ("ml-1m-diffrec", "ml-1m-diffrec")):
        for file, digest in data.known()[name]["sha256"].items():
            content = (shared_path("data") / folder / file).read_bytes()
            assert hashlib.sha256(content).hexdigest() == digest


def test_the_list_says_what_can_be_fetched_and_what_is_known(capsys):
    assert main(["data", "list"]) == 0
    said = {}
    for line in capsys.readouterr().out.splitlines():
        if not line.startswith(" "):
            name = line.partition(":")[0]
        said[name] = said.get(name, "") + line + " "
    assert "data fetch ml-20m; sha256 of the original: known" in said["ml-20m"]
    assert "data fetch ml-10m; sha256 of the original: not known" in said["ml-10m"]
    assert "to be had: by hand; sha256 of the original: known" in said["jd"]
    for name in data.known():
        assert "licence: " in said[name] and "good for " in said[name], name
    assert (properties_dir() / "datasets.yaml").is_file()


def prepare(capsys, *words):
    code = main(["data", "prepare", *map(str, words)])
    return code, capsys.readouterr().out


def test_preparing_says_the_hash_and_whether_it_is_the_original(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ratings.dat").write_text(RATINGS)
    digest = hashlib.sha256(RATINGS.encode()).hexdigest()
    code, said = prepare(capsys, "ml-1m", "--input", "ratings.dat")
    assert code == 0 and f"sha256 of ratings.dat: {digest} (unknown: of ml-1m, ml-1m.zip" in said
    (tmp_path / "ml-1m.zip").write_bytes(ORIGINAL)
    code, said = prepare(capsys, "ml-1m", "--input=ml-1m.zip")
    assert code == 0 and f"{SHA256} (WARNING: not the original of ml-1m, whose sha256 is " in said
    (tmp_path / "log.csv").write_text("who,what\n1,a\n")
    code, said = prepare(capsys, "shop", "--input", "log.csv", "--user=who", "--item=what")
    assert code == 0 and "(your own data)" in said
    about = data.known()["ml-1m"] | {"sha256": {"ml-1m.zip": SHA256}}
    monkeypatch.setattr(data, "known", lambda: {"ml-1m": about})
    (tmp_path / "renamed.zip").write_bytes(ORIGINAL)
    code, said = prepare(capsys, "ml-1m", "--input", "renamed.zip")
    assert code == 0 and "(the original, by " in said and "WARNING" not in said


@pytest.mark.slow
def test_the_files_of_a_folder_are_compared_one_by_one(tmp_path, capsys, monkeypatch, shared_path):
    folder = tmp_path / "jd_raw"
    folder.mkdir()
    for file in data.known()["jd"]["sha256"]:
        (folder / file).write_bytes((shared_path("data") / "jd" / file).read_bytes())
    (folder / "notes.txt").write_text("mine")
    code, said = prepare(capsys, "jd", "--input", folder, "--data_path", tmp_path / "dataset")
    assert code == 0 and said.count("(the original, by ") == 4 and "notes.txt" not in said
    with open(folder / "valid.txt", "a") as file:
        file.write("1,2,4\n")
    code, said = prepare(capsys, "jd", "--input", folder, "--data_path", tmp_path / "dataset")
    assert code == 0 and said.count("(the original, by ") == 3 and said.count("WARNING") == 1

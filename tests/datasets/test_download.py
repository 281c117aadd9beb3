"""Fetching: the mirror, the cache, and downloads that break, are altered, or cannot be had."""

import errno
import hashlib
import json
import multiprocessing
import os
import shutil
import time

import pytest
from tqdm import tqdm

from noise_scaling.datasets import checksums, download, fetch, transfer
from noise_scaling.datasets.download import fetch_all, fetch_file
from noise_scaling.datasets.registry import Card, File, card
from noise_scaling.errors import InputError

BODY = bytes(range(256)) * 20_000  # 5 MB: more than one block
SHA256 = hashlib.sha256(BODY).hexdigest()


def files_in(folder):
    """What lies there but for records and locks."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".json", ".lock"))
    return sorted(str(path.relative_to(folder)) for path in found)


def test_the_mirror_comes_first(alone, tmp_path, monkeypatch):
    mirror = tmp_path / "mirror" / "set"
    mirror.mkdir(parents=True)
    (mirror / "a.bin").write_bytes(BODY)
    monkeypatch.setenv("NOISE_SCALING_MIRROR", str(tmp_path / "mirror"))
    assert fetch_file(File("set/a.bin", "https://example.invalid/a", len(BODY), SHA256)) == mirror / "a.bin"
    assert files_in(alone) == []


def test_a_download_is_checked_and_kept_once(alone, server):
    server.files["a.bin"] = BODY
    file = File("set/a.bin", f"{server.url}/a.bin", len(BODY), SHA256)
    assert fetch_file(file).read_bytes() == BODY
    assert fetch_file(file) == alone / "set" / "a.bin"
    assert server.asked == [None]
    assert files_in(alone) == ["set/a.bin"]


def test_without_a_registered_sha256_the_first_download_holds(alone, server, tmp_path, monkeypatch):
    server.files["a.bin"] = BODY
    file = File("set/a.bin", f"{server.url}/a.bin")
    path = fetch_file(file)
    assert path.read_bytes() == BODY
    path.write_bytes(b"x" + BODY[1:])
    for _ in range(2):
        with pytest.raises(InputError, match=rf"{path} is not the file that was first used as set/a.bin .*: delete it"):
            fetch_file(file)
    path.unlink()
    server.files["a.bin"] = BODY + b"new"
    with pytest.raises(InputError, match=r"not kept; delete .*set/.state/a.bin.json if the file was ") as caught:
        fetch_file(file)
    assert "\n" not in str(caught.value)
    assert files_in(alone) == []
    (alone / "set" / ".state" / "a.bin.json").unlink()
    assert fetch_file(file).read_bytes() == BODY + b"new"
    other = tmp_path / "mirror" / "set" / "a.bin"
    put(other.parent, b"whoever keeps the mirror may replace it")
    monkeypatch.setenv("NOISE_SCALING_MIRROR", str(tmp_path / "mirror"))
    assert fetch_file(file) == other


def processes(n, file):
    """Start processes that fetch a file, and exit with 0 if it has come."""
    started = [multiprocessing.get_context("fork").Process(target=fetch_file, args=(file,)) for _ in range(n)]
    for process in started:
        process.start()
    return started


def test_three_processes_download_once(alone, server):
    server.files["a.bin"] = BODY * 8  # 41 MB
    started = processes(3, File("set/a.bin", f"{server.url}/a.bin"))
    for process in started:
        process.join(20)
    assert [process.exitcode for process in started] == [0, 0, 0]
    assert (alone / "set" / "a.bin").read_bytes() == BODY * 8
    assert (server.asked, server.most_at_once) == ([None], 1)
    assert files_in(alone) == ["set/a.bin"]


@pytest.mark.parametrize("sha256", [SHA256, None], ids=["registered", "unregistered"])
def test_what_a_killed_process_had_is_gone_on_with(alone, server, sha256):
    server.files["a.bin"], server.break_after = BODY, [3_000_000]
    server.go_on.clear()
    file = File("set/a.bin", f"{server.url}/a.bin", sha256=sha256)
    (process,) = processes(1, file)
    part, until = alone / "set" / ".state" / "a.bin.part", time.monotonic() + 10
    while time.monotonic() < until and not (part.exists() and part.stat().st_size == 2 << 20):
        time.sleep(0.01)
    process.kill()
    process.join(10)
    server.go_on.set()
    assert files_in(alone) == ["set/.state/a.bin.part"]
    assert fetch_file(file).read_bytes() == BODY
    assert server.asked == [None, f"bytes={2 << 20}-"]


def test_a_download_killed_before_it_was_checked_is_not_repeated(alone, server, monkeypatch):
    server.files["a.bin"] = BODY
    file = File("set/a.bin", f"{server.url}/a.bin")

    def stopped(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(checksums, "sha256", stopped)
        with pytest.raises(KeyboardInterrupt):
            fetch_file(file)
    assert files_in(alone) == ["set/.state/a.bin.part"]
    assert fetch_file(file).read_bytes() == BODY
    assert server.asked == [None]


@pytest.mark.parametrize("tags", [True, False])
def test_an_unregistered_file_is_not_sewn_together_from_two_versions(alone, server, tags):
    server.files["a.bin"], server.break_after, server.tags = BODY, [3_000_000], tags
    file = File("set/a.bin", f"{server.url}/a.bin")
    with pytest.raises(InputError, match="the connection broke off; 2.1 MB are kept" if tags else "broke off[)]"):
        fetch_file(file)
    assert files_in(alone) == (["set/.state/a.bin.part"] if tags else [])
    server.files["a.bin"] = b"x" + BODY[1:]
    assert fetch_file(file).read_bytes() == b"x" + BODY[1:]


def test_lengths_that_cannot_be_right_are_refused(alone, server):
    server.files["a.bin"] = BODY
    unknown = File("set/a.bin", f"{server.url}/a.bin")
    with pytest.raises(InputError, match="the server has 5,120,000 bytes, registered are 5,119,999"):
        fetch_file(File("set/a.bin", unknown.url, len(BODY) - 1, SHA256))
    server.headers = {"Content-Length": str(len(BODY) + 1)}
    with pytest.raises(InputError, match="the connection broke off"):
        fetch_file(unknown)
    server.headers = {"Content-Length": None}
    with pytest.raises(InputError, match="does not say how long it is"):
        fetch_file(unknown)
    with pytest.raises(InputError, match="5,120,000 bytes came of 5,120,001, and were not kept"):
        fetch_file(File("set/a.bin", unknown.url, len(BODY) + 1, SHA256))
    assert [name for name in files_in(alone) if name != "set/.state/a.bin.part"] == []
    assert fetch_file(File("set/a.bin", unknown.url, None, SHA256)).read_bytes() == BODY


def test_a_file_is_kept_as_it_came_though_the_server_calls_it_encoded(alone, server):
    server.files["a.gz"], server.headers = BODY, {"Content-Encoding": "gzip"}
    assert fetch_file(File("set/a.gz", f"{server.url}/a.gz")).read_bytes() == BODY


@pytest.fixture
def hashed(monkeypatch):
    """The paths that were read for their sha256, one entry each time."""
    read, sha256 = [], checksums.sha256
    monkeypatch.setattr(checksums, "sha256", lambda path: (read.append(path), sha256(path))[1])
    return read


@pytest.mark.parametrize("place", ["mirror", "cache"])
def test_a_file_is_hashed_once_and_again_when_it_has_changed(alone, tmp_path, monkeypatch, hashed, place):
    monkeypatch.setenv("NOISE_SCALING_MIRROR", str(tmp_path / "mirror"))
    put(tmp_path / place / "set")
    path, file = tmp_path / place / "set" / "a.bin", File("set/a.bin", None, len(BODY), SHA256)
    for times in (1, 1, 1):
        assert fetch_file(file) == path
        assert len(hashed) == times
    os.utime(path)
    for times in (2, 2):
        fetch_file(file)
        assert len(hashed) == times
    record = alone / "set" / ".state" / "a.bin.json"
    for corrupt in ("", "[]", '{"sha256": 3, "bytes": 1}', "\xff"):
        record.write_text(corrupt, encoding="latin-1")
        fetch_file(file)
        fetch_file(file)
    assert len(hashed) == 6
    record.unlink()
    record.parent.rmdir()
    record.parent.write_text("a file where the records' folder must be: they cannot be written")
    for times in (7, 8):
        assert fetch_file(file) == path
        assert len(hashed) == times


def test_a_download_is_hashed_once(alone, server, hashed):
    server.files["a.bin"] = BODY
    for _ in range(2):
        fetch_file(File("set/a.bin", f"{server.url}/a.bin", len(BODY), SHA256))
    assert len(hashed) == 1


def test_hashing_a_long_file_shows_how_far_it_is(tmp_path, monkeypatch):
    put(tmp_path / "set")
    shown = []
    monkeypatch.setattr(checksums, "tqdm", lambda **settings: (shown.append(settings["disable"]), tqdm(**settings))[1])
    assert checksums.sha256(tmp_path / "set" / "a.bin") == SHA256
    monkeypatch.setattr(checksums, "LONG_BYTES", 1000)
    assert checksums.sha256(tmp_path / "set" / "a.bin") == SHA256
    assert shown == [True, None]


def test_files_of_one_name_in_two_folders_stay_apart(alone):
    names = ["set/a.bin", "set/one/a.bin", "set/two/a.bin", "other/a.bin"]
    for name in names:
        put((alone / name).parent, name.encode())
    found = fetch_all(Card("set", "four files", files=tuple(map(File, names))))
    assert list(found) == ["a.bin", "one/a.bin", "two/a.bin", "../other/a.bin"]
    assert [path.read_text() for path in found.values()] == names


def test_an_altered_download_is_refused_and_not_kept(alone, server):
    server.files["a.bin"] = BODY[:-1] + b"x"
    with pytest.raises(InputError, match="altered or truncated, and was not kept"):
        fetch_file(File("set/a.bin", f"{server.url}/a.bin", len(BODY), SHA256))
    assert files_in(alone) == []


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on_where_it_stopped(alone, server, ranges):
    server.files["a.bin"], server.break_after, server.ranges = BODY, [3_000_000], ranges
    file = File("set/a.bin", f"{server.url}/a.bin", len(BODY), SHA256)
    with pytest.raises(InputError, match="could not be downloaded"):
        fetch_file(file)
    assert files_in(alone) == ["set/.state/a.bin.part"]
    had = (alone / "set" / ".state" / "a.bin.part").stat().st_size
    assert 0 < had <= 3_000_000
    assert fetch_file(file).read_bytes() == BODY
    assert server.asked[1] == f"bytes={had}-"
    assert files_in(alone) == ["set/a.bin"]


def test_what_is_left_of_a_longer_file_is_thrown_away(alone, server):
    server.files["a.bin"] = BODY
    part = alone / "set" / ".state" / "a.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(BODY + b"more")
    about = {"url": f"{server.url}/a.bin", "mark": "", "bytes": len(BODY) + 10}
    part.with_name("a.bin.part.json").write_text(json.dumps(about))
    assert fetch_file(File("set/a.bin", f"{server.url}/a.bin", len(BODY), SHA256)).read_bytes() == BODY


@pytest.mark.parametrize("place", ["mirror", "cache"])
@pytest.mark.parametrize("damage", ["altered", "truncated"])
def test_a_damaged_file_is_refused_wherever_it_lies(alone, tmp_path, monkeypatch, place, damage):
    monkeypatch.setenv("NOISE_SCALING_MIRROR", str(tmp_path / "mirror"))
    path = tmp_path / place / "set" / "a.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" + BODY[1:] if damage == "altered" else BODY[:1000])
    with pytest.raises(InputError, match=rf"{path} is altered or truncated .*: delete it and run again"):
        fetch_file(File("set/a.bin", "https://example.invalid/a", len(BODY), SHA256))


def test_offline_says_url_size_and_command(alone):
    published = card("published").files[0]
    with pytest.raises(InputError) as caught:
        fetch_file(File(published.name, "https://127.0.0.1:1/table.csv", published.bytes, published.sha256))
    said = str(caught.value)
    assert "https://127.0.0.1:1/table.csv" in said
    assert "0.3 MB" in said
    assert f"curl -L --create-dirs -o '{alone / published.name}'" in said
    assert "\n" not in said
    assert files_in(alone) == []
    assert transfer.CONNECT_SECONDS <= 10


def test_a_missing_page_is_said(alone, server):
    with pytest.raises(InputError, match="the server answered 404"):
        fetch_file(File("set/a.bin", f"{server.url}/gone", 1, SHA256))
    assert files_in(alone) == []


def test_a_file_without_address_says_how_to_get_it(alone):
    with pytest.raises(InputError, match=r"Sign up at .*Put it at .*merfish/cell_by_gene_S1R1.csv"):
        fetch_file(card("merfish").files[0])


def test_a_cache_that_cannot_be_written_is_said(alone):
    alone.write_text("a file, not a folder")
    with pytest.raises(InputError, match="could not be downloaded"):
        fetch("published")


def test_a_full_disk_is_said_and_leaves_nothing(alone, server, monkeypatch):
    def write(answer, part, have, total):
        part.write_bytes(BODY[:1000])
        raise OSError(errno.ENOSPC, "No space left on device")

    server.files["a.bin"] = BODY
    file = File("set/a.bin", f"{server.url}/a.bin", len(BODY), SHA256)
    with monkeypatch.context() as patched:
        patched.setattr(transfer, "_write", write)
        with pytest.raises(InputError, match="No space left on device"):
            fetch_file(file)
    assert files_in(alone) == []
    usage = shutil.disk_usage(alone)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=len(BODY) - 1))
    with pytest.raises(InputError, match=r"the disk has 5\.1 MB left: NOISE_SCALING_CACHE may name a folder with more"):
        fetch_file(file)
    assert files_in(alone) == []


def test_which_file_is_meant_must_be_clear(alone):
    with pytest.raises(InputError, match="has 2 files: name one of pbmc10k/"):
        fetch("pbmc10k")
    with pytest.raises(InputError, match="unknown file of 'pbmc10k'"):
        fetch("pbmc10k", "rna.csv")
    with pytest.raises(InputError, match="unknown data set 'pbmc99'"):
        fetch("pbmc99")


def test_the_published_table_is_in_the_mirror(small_source):
    small_source("published")
    assert len(fetch("published").read_text().splitlines()) == 4845  # a header and 4,844 measurements


@pytest.fixture
def registered(server, monkeypatch):
    """Two data sets of one file each on the server of this machine, where `name` may point elsewhere."""

    def register(**urls):
        cards = {
            name: Card(
                name, name, files=(File(f"{name}/a.bin", urls.get(name, f"{server.url}/{name}"), len(BODY), SHA256),)
            )
            for name in ("one", "two")
        }
        monkeypatch.setattr(download, "card", cards.__getitem__)

    return register


def put(folder, body=BODY):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.bin").write_bytes(body)


NOWHERE = "http://127.0.0.1:1/a"  # nobody listens there
UNKNOWN = "http://host.invalid/a"  # no such host, on any network


@pytest.mark.parametrize("one", [NOWHERE, UNKNOWN])
def test_provide_stops_at_the_first_sign_of_no_network(alone, server, registered, one):
    server.files["two"] = BODY
    registered(one=one)
    assert download.provide(["one", "two"]) == "no network for 2 files: the pages use what is committed"
    assert server.asked == []


def test_provide_uses_what_is_there_without_a_network(alone, server, registered):
    registered(one=NOWHERE, two=NOWHERE)
    put(alone / "two")
    assert download.provide(["one", "two"]) == "no network for 1 file: the pages use what is committed"
    assert [download.at_hand(download.card(name)) for name in ("one", "two")] == [False, True]
    put(alone / "one")
    assert download.provide(["one", "two"]) == "all 2 files at hand"


def test_provide_downloads_once(alone, server, registered):
    server.files |= {"one": BODY, "two": BODY}
    registered()
    assert download.provide(["one", "two"]) == "downloaded 2 files, 10.2 MB"
    assert download.provide(["one", "two"]) == "all 2 files at hand"
    assert len(server.asked) == 2


def test_provide_refuses_what_is_altered_and_goes_on(alone, server, registered):
    server.files |= {"one": BODY[:-1] + b"x", "two": BODY}
    registered()
    assert download.provide(["one", "two"]) == (
        "downloaded 1 file, 5.1 MB; one/a.bin: what came is altered or truncated, and was not kept: "
        "the pages use what is committed"
    )
    assert files_in(alone) == ["two/a.bin"]


def test_provide_says_which_file_at_hand_is_altered(alone, server, registered):
    registered(two=NOWHERE)
    put(alone / "one", b"x" + BODY[1:])
    assert len(download.here(download.card("one"))) == 1
    assert not download.at_hand(download.card("one"))
    said = download.provide(["one", "two"])
    assert said.startswith(f"no network for 1 file; {alone / 'one/a.bin'} is altered or truncated")
    assert said.endswith(": the pages use what is committed")

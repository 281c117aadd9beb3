"""Fetching: the mirror, the cache, and downloads that break, are altered, or cannot be had."""

import errno
import hashlib

import pytest

from noise_scaling.datasets import download, fetch
from noise_scaling.datasets.download import CONNECT_SECONDS, fetch_file
from noise_scaling.datasets.registry import Card, File, card
from noise_scaling.errors import InputError

BODY = bytes(range(256)) * 20_000  # 5 MB: more than one block
SHA256 = hashlib.sha256(BODY).hexdigest()


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.exists() else []


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
    assert files_in(alone) == ["set", "set/a.bin"]


def test_without_a_registered_sha256_a_download_is_taken_as_it_is(alone, server):
    server.files["a.bin"] = BODY
    assert fetch_file(File("set/a.bin", f"{server.url}/a.bin")).read_bytes() == BODY


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
    assert files_in(alone) == ["set", "set/a.bin.part"]
    had = (alone / "set" / "a.bin.part").stat().st_size
    assert 0 < had <= 3_000_000
    assert fetch_file(file).read_bytes() == BODY
    assert server.asked[1] == f"bytes={had}-"
    assert files_in(alone) == ["set", "set/a.bin"]


def test_what_is_left_of_a_longer_file_is_thrown_away(alone, server):
    server.files["a.bin"] = BODY
    part = alone / "set" / "a.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(BODY + b"more")
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
    assert CONNECT_SECONDS <= 10


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
    def write(answer, part, have):
        part.write_bytes(BODY[:1000])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "_write", write)
    server.files["a.bin"] = BODY
    with pytest.raises(InputError, match="No space left on device"):
        fetch_file(File("set/a.bin", f"{server.url}/a.bin", len(BODY), SHA256))
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
    folder.mkdir(parents=True)
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
    assert files_in(alone) == ["two", "two/a.bin"]


def test_provide_says_which_file_at_hand_is_altered(alone, server, registered):
    registered(two=NOWHERE)
    put(alone / "one", b"x" + BODY[1:])
    assert len(download.here(download.card("one"))) == 1
    assert not download.at_hand(download.card("one"))
    said = download.provide(["one", "two"])
    assert said.startswith(f"no network for 1 file; {alone / 'one/a.bin'} is altered or truncated")
    assert said.endswith(": the pages use what is committed")

"""Files that appear whole, or not at all."""

import os

import pytest

from noise_scaling.errors import InputError
from noise_scaling.files import replacing, write_atomically


def test_a_link_and_what_is_no_file_keep_their_place(tmp_path):
    """A rename over /dev/null would end it."""
    (tmp_path / "far").mkdir()
    link, pipe = tmp_path / "table.csv", tmp_path / "pipe"
    link.symlink_to(tmp_path / "far" / "table.csv")
    write_atomically(link, "text")
    assert link.is_symlink()
    assert (tmp_path / "far" / "table.csv").read_text() == "text"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, "text")
    assert os.read(reader, 9) == b"text"
    os.close(reader)
    assert pipe.is_fifo()


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")

    def stop() -> None:
        with replacing(tmp_path / "a.txt") as draft:
            draft.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_folder_appears_whole_and_files_are_as_readable_as_others(tmp_path):
    with replacing(tmp_path / "deep" / "store") as draft:
        draft.mkdir()
        (draft / "a.bin").write_bytes(b"1")
        assert not (tmp_path / "deep" / "store").exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["store"]
    write_atomically(tmp_path / "deep" / "b.txt", b"2")
    (tmp_path / "deep" / "c.txt").write_bytes(b"3")
    modes = {(tmp_path / "deep" / name).stat().st_mode for name in ("b.txt", "c.txt")}
    assert len(modes) == 1  # what the user's umask says, not a temporary file's 0600


def test_a_file_in_the_way_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*free the disk or choose another folder"):
        write_atomically(tmp_path / "file" / "a.txt", "text")

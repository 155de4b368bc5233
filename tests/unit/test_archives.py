"""Archives that are what they should be, and all that others may be instead."""

import errno
import io
import os
import shutil
import stat
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rar_files import rar

from earshot import archives
from earshot.archives import ArchiveError, unpack

FILES = {"set/a.avi": b"one" * 50, "set/Sub dir/b.avi": b"two", "set/lists/c.txt": b"", "other/d.txt": b"four"}


def zipped(path, files=FILES, **how):
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path, files=FILES, extra=()):
    mode = {".tgz": "w:gz", ".gz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o777
            archive.addfile(info, io.BytesIO(data))
        for info in extra:
            archive.addfile(info, io.BytesIO(b"x" * info.size))
    return path


def rarred(path, files=FILES, **how):
    path.write_bytes(rar(files, **how))
    return path


MAKERS = {".zip": zipped, ".tar": tarred, ".tar.gz": tarred, ".tgz": tarred, ".tar.bz2": tarred, ".tar.xz": tarred}


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """A tool called unrar on PATH, which writes what the test says (path -> bytes; None: a link to a file outside)."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "unrar"

    def set_up(files, code=0, said=""):
        lines = [f"#!{sys.executable}", "import os, sys", "into = sys.argv[-1]", "assert sys.stdin.read() == ''"]
        for name, data in files.items():
            lines.append(f"os.makedirs(os.path.dirname(os.path.join(into, {name!r})), exist_ok=True)")
            made = f"open(os.path.join(into, {name!r}), 'wb').write({data!r})"
            lines.append(made if data is not None else f"os.symlink('/etc/passwd', os.path.join(into, {name!r}))")
        lines += [f"sys.stderr.write({said!r})", f"sys.exit({code})"]
        script.write_text("\n".join(lines))
        script.chmod(0o755)

    monkeypatch.setenv("PATH", str(folder))
    return set_up


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive, told, **how):
    """The archive is refused, and nothing of it is anywhere."""
    into = archive.parent / "into"
    into.mkdir(exist_ok=True)
    (into / "kept.txt").write_bytes(b"kept")
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(ArchiveError, match=told):
        unpack(archive, into, **how)
    assert sorted(archive.parent.rglob("*")) == before
    assert contents(into) == {"kept.txt": b"kept"}


@pytest.mark.parametrize("suffix", MAKERS)
def test_everything_comes_out(tmp_path, suffix):
    archive = MAKERS[suffix](tmp_path / f"x{suffix}")
    assert unpack(archive, tmp_path / "into") == sorted(FILES)
    assert contents(tmp_path / "into") == FILES
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["into", archive.name])
    assert stat.S_IMODE((tmp_path / "into/set/a.avi").stat().st_mode) == 0o644


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_only_a_folder_and_only_named_files(tmp_path, suffix):
    archive = MAKERS[suffix](tmp_path / f"x{suffix}")
    assert unpack(archive, tmp_path / "one", below="set") == ["Sub dir/b.avi", "a.avi", "lists/c.txt"]
    assert unpack(archive, tmp_path / "two", below="set/", members={"b.avi", "d.txt"}) == ["Sub dir/b.avi"]
    assert unpack(archive, tmp_path / "three", members=frozenset()) == []
    refused(archive, r"no folder 'sets' in it; there are: other, set", below="sets")


def test_files_beside_stay_and_files_of_the_same_name_are_replaced(tmp_path):
    into = tmp_path / "into"
    (into / "set").mkdir(parents=True)
    (into / "set" / "a.avi").write_bytes(b"old")
    (into / "set" / "mine.avi").write_bytes(b"mine")
    unpack(zipped(tmp_path / "x.zip"), into)
    assert contents(into) == {**FILES, "set/mine.avi": b"mine"}


def test_what_desktops_leave_is_left_out(tmp_path):
    archive = zipped(tmp_path / "x.zip", {"a.avi": b"1", "__MACOSX/._a.avi": b"2", "s/._b.avi": b"3", "s/.DS_Store": b"4"})
    assert unpack(archive, tmp_path / "into") == ["a.avi"]


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "C:/evil", "a\\..\\..\\evil", "a\nb", "a\x7f"])
@pytest.mark.parametrize("maker", [zipped, tarred, rarred])
def test_paths_that_leave_the_folder_are_refused(tmp_path, tool, maker, name):
    tool({})
    suffix = {zipped: ".zip", tarred: ".tar.gz", rarred: ".rar"}[maker]
    archive = maker(tmp_path / f"x{suffix}", {"good": b"1", name: b"2"})
    refused(archive, "points out of the folder|a name that not every system takes")


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ([link("set/way", "/etc")], "is a link"),
        ([link("set/way", "..")], "is a link"),
        ([link("hard", "set/a.avi", tarfile.LNKTYPE)], "is a link"),
        ([link("pipe", "", tarfile.FIFOTYPE)], "is no plain file"),
        ([link("disk", "", tarfile.BLKTYPE)], "is no plain file"),
        ([tarfile.TarInfo("set/a.avi")], "'set/a.avi' is in it twice"),
        ([tarfile.TarInfo("./set//a.avi")], "'set/a.avi' is in it twice"),
        ([tarfile.TarInfo("set/a.avi/b")], "'set/a.avi' is both a file and a folder"),
    ],
)
def test_members_that_are_no_plain_files_of_their_own_are_refused(tmp_path, extra, told):
    refused(tarred(tmp_path / "x.tar", extra=extra), told)


def test_a_write_through_a_link_of_the_archive_is_refused(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    refused(tarred(tmp_path / "x.tar", {}, extra=[link("way", str(outside)), tarfile.TarInfo("way/evil")]), "is a link")
    assert list(outside.iterdir()) == []


def test_a_link_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("way")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc")
    refused(tmp_path / "x.zip", "'way' is a link")


def test_a_link_that_is_in_the_folder_already_is_not_written_through(tmp_path):
    outside, into = tmp_path / "outside", tmp_path / "into"
    outside.mkdir()
    into.mkdir()
    (into / "set").symlink_to(outside)
    with pytest.raises(ArchiveError, match="is a link that leaves the folder"):
        unpack(zipped(tmp_path / "x.zip"), into)
    assert list(outside.iterdir()) == [] and [path.name for path in into.iterdir()] == ["set"]


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path):
    outside, into = tmp_path / "outside.txt", tmp_path / "into"
    outside.write_bytes(b"mine")
    (into / "other").mkdir(parents=True)
    (into / "other" / "d.txt").symlink_to(outside)
    unpack(zipped(tmp_path / "x.zip"), into)
    assert outside.read_bytes() == b"mine" and (into / "other" / "d.txt").read_bytes() == b"four"


def test_a_folder_in_the_place_of_a_file_is_told(tmp_path):
    (tmp_path / "into" / "set" / "a.avi").mkdir(parents=True)
    with pytest.raises(ArchiveError, match="is in the way, a folder where a file must be"):
        unpack(zipped(tmp_path / "x.zip"), tmp_path / "into")
    assert not (tmp_path / "into" / "other").exists()


def test_a_bomb_is_refused_by_what_it_declares(tmp_path):
    zeros = {"bomb": bytes(120_000_000)}
    refused(
        zipped(tmp_path / "x.zip", zeros, compression=zipfile.ZIP_DEFLATED), "said to be 120000000 bytes, more than 100000000"
    )
    refused(tarred(tmp_path / "x.tar.gz", zeros), "said to be 120000000 bytes")


def test_a_bomb_that_lies_of_its_size_is_refused_while_it_is_written(tmp_path):
    archive = zipped(tmp_path / "x.zip", {"bomb": bytes(3_000_000)}, compression=zipfile.ZIP_DEFLATED)
    data = bytearray(archive.read_bytes())
    for marker, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = data.index(marker) + place
        data[start : start + 4] = (1_000).to_bytes(4, "little")
    archive.write_bytes(data)
    refused(archive, "damaged or cut short|is not of 1000 bytes")


def test_a_limit_is_kept(tmp_path):
    refused(zipped(tmp_path / "x.zip"), "said to be 157 bytes, more than 100", limit=100)
    assert unpack(tmp_path / "x.zip", tmp_path / "into", limit=157)


def test_only_what_is_wanted_counts(tmp_path):
    assert unpack(zipped(tmp_path / "x.zip"), tmp_path / "into", members={"d.txt"}, limit=10) == ["other/d.txt"]


@pytest.mark.parametrize("suffix", MAKERS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_an_archive_that_is_cut_short_is_refused(tmp_path, suffix, share):
    files = {f"f{k}.bin": os.urandom(4_000) for k in range(8)}
    archive = MAKERS[suffix](tmp_path / f"x{suffix}", files)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(share * len(whole))])
    refused(archive, "damaged or cut short|no archive of the kinds")


def test_a_tar_that_ends_between_two_members_is_refused(tmp_path):
    archive = tarred(tmp_path / "x.tar", {"a": b"1" * 512, "b": b"2" * 512})
    archive.write_bytes(archive.read_bytes()[:1024])
    refused(archive, "damaged or cut short .its end is missing")


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar.xz"])
def test_wrong_bytes_in_the_middle_are_noticed(tmp_path, suffix):
    archive = MAKERS[suffix](tmp_path / f"x{suffix}", {"a.bin": os.urandom(60_000)})
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 0xFF
    archive.write_bytes(data)
    refused(archive, "damaged or cut short")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"<!doctype html><p>quota exceeded", "it is a web page"),
        (b"", "no archive"),
        (b"hello" * 300, "no archive of the kinds"),
    ],
)
def test_what_is_no_archive_says_what_it_is(tmp_path, data, told):
    (tmp_path / "x.zip").write_bytes(data)
    refused(tmp_path / "x.zip", told)


def test_an_archive_of_another_kind_than_its_name_is_told(tmp_path):
    refused(tarred(tmp_path / "x.tar").rename(tmp_path / "x.zip"), "it is a tar archive by its content")


def test_an_encrypted_member_is_refused(tmp_path):
    archive = zipped(tmp_path / "x.zip", {"a": b"secret"})
    data = bytearray(archive.read_bytes())
    for marker, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(marker) + place] |= 1
    archive.write_bytes(data)
    refused(archive, "is encrypted")


def test_too_little_room_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 5))
    refused(zipped(tmp_path / "x.zip"), "its contents need 157 bytes, and 5 are free")


def test_a_disk_that_fills_up_meanwhile_is_told_and_nothing_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_write", fails(OSError(errno.ENOSPC, "No space left on device")))
    refused(zipped(tmp_path / "x.zip"), "the disk is full after 0 bytes of contents; it is kept: make room")


def fails(error):
    def call(*_):
        raise error

    return call


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
    left = tmp_path / ".unpacking-into-x.zip" / "set"
    left.mkdir(parents=True)
    (left / "half.avi").write_bytes(b"h")
    unpack(zipped(tmp_path / "x.zip"), tmp_path / "into")
    assert contents(tmp_path / "into") == FILES and not left.exists()


def test_rar_is_unpacked_in_one_run_of_a_tool(tmp_path, tool):
    tool(FILES)
    assert unpack(rarred(tmp_path / "x.rar"), tmp_path / "into") == sorted(FILES)
    assert contents(tmp_path / "into") == FILES
    assert unpack(tmp_path / "x.rar", tmp_path / "two", below="set", members={"a.avi"}) == ["a.avi"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({**FILES, "set/a.avi": b"ONE" * 50}, "'set/a.avi' is damaged"),
        ({**FILES, "set/a.avi": b"one"}, "'set/a.avi' is damaged"),
        ({**FILES, "evil": b"x"}, "'evil' came out of it and was not listed"),
        ({**FILES, "set/a.avi": None}, "'set/a.avi' came out of it and was not listed"),
        ({"set/a.avi": FILES["set/a.avi"]}, "'other/d.txt' did not come out"),
    ],
)
def test_what_a_tool_writes_is_compared_with_the_list(tmp_path, tool, files, told):
    tool(files)
    refused(rarred(tmp_path / "x.rar"), told)


def test_a_tool_that_fails_is_quoted(tmp_path, tool):
    tool({}, code=3, said="CRC failed in a.avi\nmore")
    refused(rarred(tmp_path / "x.rar"), r"unrar: x.rar: it cannot be unpacked \(CRC failed in a.avi more\)")
    tool({}, code=5, said="write error: No space left on device")
    refused(tmp_path / "x.rar", "the disk is full")


def test_without_a_tool_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    refused(rarred(tmp_path / "x.rar"), r"nothing on PATH unpacks .rar \(7zz, 7z, unar, bsdtar, unrar\); install one")


def test_a_rar_with_a_link_is_refused(tmp_path, tool):
    tool({})
    refused(rarred(tmp_path / "x.rar", {"way": b"/etc"}, modes={"way": stat.S_IFLNK | 0o777}), "'way' is a link")


def test_a_rar_that_is_cut_short_is_refused(tmp_path, tool):
    tool({})
    whole = rarred(tmp_path / "x.rar").read_bytes()
    for size in (30, 60, 150, len(whole) - 10):
        (tmp_path / "x.rar").write_bytes(whole[:size])
        refused(tmp_path / "x.rar", "damaged or cut short|did not come out")


REAL = [name for name in archives._TOOLS if shutil.which(name)]


@pytest.mark.skipif(not REAL, reason="no tool that unpacks .rar is installed")
def test_a_real_tool_unpacks_a_rar(tmp_path):
    assert unpack(rarred(tmp_path / "x.rar"), tmp_path / "real", below="set") == ["Sub dir/b.avi", "a.avi", "lists/c.txt"]
    lied = rarred(tmp_path / "y.rar", lie={"set/a.avi": zlib.crc32(b"other")})
    refused(lied, "cannot be unpacked|is damaged")


_NAMES = st.text("abcdefgh ÄöŽ音.-_", min_size=1, max_size=8).filter(lambda name: name.strip(". ") == name)
_TREES = st.dictionaries(st.lists(_NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=60), min_size=1, max_size=8)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(files=_TREES, suffix=st.sampled_from(sorted(MAKERS)))
def test_any_tree_survives(tmp_path, files, suffix):
    parents = {parent.as_posix() for name in files for parent in Path(name).parents}
    files = {name: data for name, data in files.items() if name not in parents} or {"a": b""}
    root = tmp_path / "any"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    unpack(MAKERS[suffix](root / f"x{suffix}", files), root / "into")
    assert contents(root / "into") == files

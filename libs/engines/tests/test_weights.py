"""Weights arrive whole and as pinned, or not at all."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from billow.engines import weights
from billow.engines.checksums import sha256_of
from billow.engines.errors import WeightsError
from billow.engines.manifest import Manifest, read_manifest
from billow.engines.package_index import Progress
from billow.engines.weights import pull, pull_all, verify

DET, REC = b"detector " * 1000, b"recogniser " * 1000
MEMBERS = {"toymodels/det.onnx": DET, "toymodels/rec.onnx": REC}

MakeWheel = Callable[[Mapping[str, bytes]], Path]
MakeModel = Callable[[str, str, bytes], Manifest]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch, wheelhouse: Path) -> list[str]:
    """Stands in for pip where pip itself is not the subject: a copy, noted."""
    noted: list[str] = []

    def copy(package: str, version: str, folder: Path, progress: Progress | None = None) -> Path:
        noted.append(f"{package}=={version}")
        source = wheelhouse / f"{package}-{version}-py3-none-any.whl"
        target = folder / source.name
        target.write_bytes(source.read_bytes())
        return target

    monkeypatch.setattr(weights, "download_wheel", copy)
    return noted


def _files(cache: Path) -> list[str]:
    """What a pull left behind, but for locks."""
    return sorted(
        str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file() and ".locks" not in path.parts
    )


def test_two_models_out_of_one_wheel_by_pip(make_wheel: MakeWheel, wheel_model: MakeModel, cache: Path) -> None:
    wheel = make_wheel(MEMBERS)
    det = wheel_model("det", "toymodels/det.onnx", DET)
    rec = wheel_model("rec", "toymodels/rec.onnx", REC)
    seen: list[tuple[int, int]] = []
    found = pull_all([det, rec], cache, lambda done, total: seen.append((done, total)))
    assert found[det.token].read_bytes() == DET
    assert found[rec.token].read_bytes() == REC
    assert seen[-1] == (wheel.stat().st_size, wheel.stat().st_size)
    assert seen.count(seen[-1]) == 1, "the wheel came once"
    assert len(_files(cache)) == 2, "nothing but the weights is kept"


def test_pip_that_finds_nothing_is_explained(wheelhouse: Path, wheel_model: MakeModel, cache: Path) -> None:
    model = wheel_model("det", "toymodels/det.onnx", DET)
    with pytest.raises(WeightsError) as caught:
        pull(model, cache)
    message = str(caught.value)
    assert caught.value.code == "weights_unavailable"
    assert caught.value.retryable
    assert "toymodels 1.0" in message
    assert "No matching distribution found for toymodels==1.0" in message, "pip's own words"
    assert "proxy" in message and "PIP_INDEX_URL" in message
    assert _files(cache) == []


def test_a_truncated_wheel_is_refused(make_wheel: MakeWheel, wheel_model: MakeModel, cache: Path) -> None:
    wheel = make_wheel(MEMBERS)
    wheel.write_bytes(wheel.read_bytes()[:5000])
    model = wheel_model("det", "toymodels/det.onnx", DET)
    with pytest.raises(WeightsError) as caught:
        pull(model, cache)
    assert caught.value.code == "weights_unavailable"
    assert _files(cache) == []


def test_two_processes_pull_at_once(make_wheel: MakeWheel, wheel_model: MakeModel, cache: Path) -> None:
    make_wheel(MEMBERS)
    model = wheel_model("det", "toymodels/det.onnx", DET)
    script = (
        "import sys; from pathlib import Path\n"
        "from billow.engines.manifest import read_manifest\n"
        "from billow.engines.weights import pull\n"
        "calls = []\n"
        "path = pull(read_manifest(Path(sys.argv[1])), Path(sys.argv[2]), lambda *n: calls.append(n))\n"
        "print('downloaded' if calls else 'found', path)\n"
    )
    command = [sys.executable, "-c", script, str(model.folder / "manifest.toml"), str(cache)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate()[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(answer[0] for answer in answers) == ["downloaded", "found"]
    assert {Path(answer[1]).read_bytes() for answer in answers} == {DET}


def test_pulling_again_downloads_nothing(
    make_wheel: MakeWheel, wheel_model: MakeModel, cache: Path, downloads: list[str]
) -> None:
    make_wheel(MEMBERS)
    det = wheel_model("det", "toymodels/det.onnx", DET)
    first = pull(det, cache)
    assert pull(det, cache) == first == verify(det, cache)
    assert downloads == ["toymodels==1.0"]


def test_what_a_killed_pull_left_is_swept(
    make_wheel: MakeWheel, wheel_model: MakeModel, cache: Path, downloads: list[str]
) -> None:
    make_wheel(MEMBERS)
    left = cache / ".downloads" / "toymodels-1.0"
    left.mkdir(parents=True)
    (left / "toymodels-1.0-py3-none-any.whl").write_bytes(b"half")
    (left / "old.whl").write_bytes(b"half")
    path = pull(wheel_model("det", "toymodels/det.onnx", DET), cache)
    assert path is not None and path.read_bytes() == DET
    assert _files(cache) == [str(path.relative_to(cache))]


def test_a_wheel_with_other_bytes_is_not_kept(
    make_wheel: MakeWheel, wheel_model: MakeModel, cache: Path, downloads: list[str]
) -> None:
    other = DET.replace(b"detector", b"attacker")
    make_wheel({"toymodels/det.onnx": other})
    with pytest.raises(WeightsError) as caught:
        pull(wheel_model("det", "toymodels/det.onnx", DET), cache)
    assert caught.value.code == "weights_mismatch"
    assert hashlib.sha256(DET).hexdigest() in str(caught.value), "expected"
    assert hashlib.sha256(other).hexdigest() in str(caught.value), "found"
    assert _files(cache) == []


@pytest.mark.parametrize("data", [DET + b"x", DET[:-1], b"", DET * 100])
def test_a_member_of_another_size_is_not_kept(
    data: bytes, make_wheel: MakeWheel, wheel_model: MakeModel, cache: Path, downloads: list[str]
) -> None:
    make_wheel({"toymodels/det.onnx": data})
    with pytest.raises(WeightsError, match=f"{len(DET)} bytes") as caught:
        pull(wheel_model("det", "toymodels/det.onnx", DET), cache)
    assert caught.value.code == "weights_mismatch"
    assert _files(cache) == []


def test_a_missing_member_names_those_that_are_there(
    make_wheel: MakeWheel, wheel_model: MakeModel, cache: Path, downloads: list[str]
) -> None:
    make_wheel(MEMBERS)
    with pytest.raises(WeightsError) as caught:
        pull(wheel_model("cls", "toymodels/cls.onnx", DET), cache)
    assert caught.value.code == "weights_unavailable"
    assert "has no toymodels/cls.onnx" in str(caught.value)
    assert "toymodels/det.onnx, toymodels/rec.onnx" in str(caught.value)
    assert "weights.path" in str(caught.value)


def test_a_damaged_member_is_not_kept(
    make_wheel: MakeWheel, wheel_model: MakeModel, cache: Path, downloads: list[str]
) -> None:
    wheel = make_wheel(MEMBERS)
    wheel.write_bytes(wheel.read_bytes().replace(b"detector", b"defector", 1))
    with pytest.raises(WeightsError, match="damaged") as caught:
        pull(wheel_model("det", "toymodels/det.onnx", DET), cache)
    assert caught.value.code == "weights_unavailable" and caught.value.retryable
    assert _files(cache) == []


def test_a_member_name_cannot_leave_the_cache(
    make_wheel: MakeWheel, wheel_model: MakeModel, cache: Path, downloads: list[str]
) -> None:
    make_wheel({"../../escaped.onnx": DET})
    path = pull(wheel_model("det", "../../escaped.onnx", DET), cache)
    assert path == cache / hashlib.sha256(DET).hexdigest() / "escaped.onnx"


def test_weights_changed_on_disk_are_refused_and_left_alone(
    make_wheel: MakeWheel, wheel_model: MakeModel, cache: Path, downloads: list[str]
) -> None:
    make_wheel(MEMBERS)
    model = wheel_model("det", "toymodels/det.onnx", DET)
    path = pull(model, cache)
    assert path is not None
    path.write_bytes(REC)
    for use in (verify, pull):
        with pytest.raises(WeightsError) as caught:
            use(model, cache)
        assert caught.value.code == "weights_mismatch"
        message = str(caught.value)
        assert str(path) in message
        assert hashlib.sha256(DET).hexdigest() in message and hashlib.sha256(REC).hexdigest() in message
        assert "billow models pull det" in message
    assert path.read_bytes() == REC


def test_weights_never_pulled_say_how_to_pull(wheel_model: MakeModel, cache: Path) -> None:
    with pytest.raises(WeightsError, match="billow models pull det") as caught:
        verify(wheel_model("det", "toymodels/det.onnx", DET), cache)
    assert caught.value.code == "weights_missing"
    assert not cache.exists(), "looking changes nothing"


def test_a_cache_that_cannot_be_written_is_explained(
    make_wheel: MakeWheel, wheel_model: MakeModel, tmp_path: Path
) -> None:
    make_wheel(MEMBERS)
    (tmp_path / "occupied").write_text("a file, not a folder")
    with pytest.raises(WeightsError, match="BILLOW_MODEL_CACHE"):
        pull(wheel_model("det", "toymodels/det.onnx", DET), tmp_path / "occupied")


def test_pulled_weights_can_be_read_by_other_users(
    make_wheel: MakeWheel, wheel_model: MakeModel, cache: Path, downloads: list[str]
) -> None:
    """An image is built by root and runs as somebody else."""
    make_wheel(MEMBERS)
    before = os.umask(0o022)
    try:
        path = pull(wheel_model("det", "toymodels/det.onnx", DET), cache)
    finally:
        os.umask(before)
    assert path is not None and path.stat().st_mode & 0o777 == 0o644


def test_local_weights_are_checked_where_they_lie(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "manifest.toml").write_text(
        'name = "own"\nversion = "1.0.0"\ntask = "text-detection"\nruntimes = ["onnxruntime"]\nlicence = "MIT"\n'
        'description = "Mine."\n[weights]\nkind = "file"\nfile = "own.onnx"\n'
        f'sha256 = "{hashlib.sha256(DET).hexdigest()}"\n'
    )
    model = read_manifest(tmp_path / "manifest.toml")
    with pytest.raises(WeightsError, match="put the file there") as missing:
        pull(model, cache)
    assert missing.value.code == "weights_missing"
    (tmp_path / "own.onnx").write_bytes(REC)
    with pytest.raises(WeightsError) as other:
        verify(model, cache)
    assert other.value.code == "weights_mismatch"
    (tmp_path / "own.onnx").write_bytes(DET)
    assert pull(model, cache) == verify(model, cache) == tmp_path / "own.onnx"
    assert not cache.exists()


def test_local_weights_may_be_a_folder(tmp_path: Path, cache: Path) -> None:
    saved = tmp_path / "saved_model"
    saved.mkdir()
    (saved / "saved_model.pb").write_bytes(DET)
    (tmp_path / "manifest.toml").write_text(
        'name = "own"\nversion = "1.0.0"\ntask = "text-detection"\nruntimes = ["tensorflow"]\nlicence = "MIT"\n'
        'description = "Mine."\n[weights]\nkind = "file"\nfile = "saved_model"\n'
        f'sha256 = "{sha256_of(saved)}"\n'
    )
    model = read_manifest(tmp_path / "manifest.toml")
    assert pull(model, cache) == saved
    (saved / "variables").symlink_to(tmp_path)
    with pytest.raises(WeightsError, match="neither a file nor a folder; take it out") as linked:
        verify(model, cache)
    assert linked.value.code == "weights_mismatch"
    (saved / "variables").unlink()
    (saved / "more").write_text("x")
    with pytest.raises(WeightsError, match="not the ones its manifest pins"):
        verify(model, cache)

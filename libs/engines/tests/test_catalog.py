"""Models are found by name or token, wherever the settings say that they are."""

import os
from pathlib import Path

import pytest

from billow.engines.catalog import Catalog
from billow.engines.errors import ManifestError, UnknownModelError
from billow.engines.settings import model_cache, model_folders
from billow.runtime.errors import UsageError


def _add(folder: Path, name: str, version: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.toml").write_text(
        f'name = "{name}"\nversion = "{version}"\ntask = "token-classification"\nruntimes = ["python"]\n'
        'licence = "MIT"\ndescription = "A toy."\n[python]\nentrypoint = "toy:Toy"\n'
    )
    return folder


def test_a_name_is_its_newest_version_and_a_token_is_exact(tmp_path: Path) -> None:
    for version in ("1.9.0", "1.10.0", "1.2.0"):
        _add(tmp_path / version, "toy", version)
    _add(tmp_path / "other", "another", "3.0.0")
    catalog = Catalog([tmp_path])
    assert [model.token for model in catalog.list()] == ["another_3-0-0", "toy_1-10-0", "toy_1-9-0", "toy_1-2-0"]
    assert catalog.get("toy").version == "1.10.0"
    assert catalog.get("toy_1-2-0").version == "1.2.0"
    assert catalog.get("toy").folder == tmp_path / "1.10.0"


def test_an_unknown_model_is_answered_with_what_there_is(tmp_path: Path) -> None:
    _add(tmp_path / "a", "ppocr-v6-det-small", "1.0.0")
    _add(tmp_path / "b", "rules", "1.0.0")
    catalog = Catalog([tmp_path])
    with pytest.raises(UnknownModelError) as caught:
        catalog.get("ppocr-v6-det-smal")
    assert "did you mean 'ppocr-v6-det-small'?" in str(caught.value)
    assert "there are: ppocr-v6-det-small, rules" in str(caught.value)
    with pytest.raises(UnknownModelError, match="did you mean 'rules_1-0-0'"):
        catalog.get("rules_1-0-1")
    with pytest.raises(UnknownModelError) as far:
        catalog.get("xyz")
    assert "did you mean" not in str(far.value)


def test_no_models_at_all_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError) as caught:
        Catalog([tmp_path]).get("rules")
    assert str(tmp_path) in str(caught.value) and "BILLOW_MODELS" in str(caught.value)


def test_one_broken_manifest_leaves_the_others_usable(tmp_path: Path) -> None:
    _add(tmp_path / "good", "good", "1.0.0")
    (_add(tmp_path / "bad", "bad", "1.0.0") / "manifest.toml").write_text("name = 1")
    catalog = Catalog([tmp_path])
    assert [model.name for model in catalog] == ["good"]
    assert len(catalog.broken) == 1
    for asked in ("bad", "bad_1-0-0"):
        with pytest.raises(ManifestError, match=r"bad/manifest\.toml: key `name`"):
            catalog.get(asked)


def test_two_folders_with_the_same_version_are_refused(tmp_path: Path) -> None:
    _add(tmp_path / "one", "toy", "1.0.0")
    _add(tmp_path / "two", "toy", "1.0.0")
    with pytest.raises(ManifestError) as caught:
        Catalog([tmp_path])
    assert "one" in str(caught.value) and "two" in str(caught.value)


def test_a_folder_may_be_a_model_itself_and_be_named_twice(tmp_path: Path) -> None:
    folder = _add(tmp_path / "toy", "toy", "1.0.0")
    assert [model.name for model in Catalog([folder, tmp_path])] == ["toy"]


def test_folders_come_from_the_environment(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    assert model_folders({"BILLOW_MODELS": f"{first}{os.pathsep}{second}"}) == (first, second)
    with pytest.raises(UsageError, match=r"BILLOW_MODELS names .*missing, which is not a folder"):
        model_folders({"BILLOW_MODELS": str(tmp_path / "missing")})


def test_without_a_checkout_the_message_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="set BILLOW_MODELS"):
        model_folders({}, source=tmp_path / "site-packages/billow/engines/settings.py")


def test_the_cache_can_be_moved(tmp_path: Path) -> None:
    assert model_cache({"BILLOW_MODEL_CACHE": str(tmp_path)}) == tmp_path
    assert model_cache({}).parts[-2:] == ("billow", "models")


def test_the_committed_models_can_all_be_read() -> None:
    catalog = Catalog(model_folders({}))
    assert catalog.broken == ()
    assert {"ppocr-v6-det-small_1-0-0", "ppocr-v6-rec-small_1-0-0"} <= {model.token for model in catalog}
    for model in catalog:
        assert model.folder.name == model.name, "a model's folder carries its name"


def test_every_committed_model_has_a_card_with_its_licence() -> None:
    for model in Catalog(model_folders({})):
        card = model.folder / "README.md"
        assert card.is_file(), f"{model.name} has no card: write {card}"
        assert model.licence in card.read_text(encoding="utf-8"), f"the card of {model.name} states its licence"

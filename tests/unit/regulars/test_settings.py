"""Settings: defaults beside the project, values from the environment, secrets masked."""

from pathlib import Path

import pytest

from regulars.errors import SettingsError
from regulars.settings import read_settings


def test_home_lies_beside_the_nearest_project_file(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    found = read_settings({}, start=below)
    assert found.home == (tmp_path / ".regulars").resolve()
    assert found.lake == found.home / "lake"
    assert found.database_url == f"sqlite:///{found.home}/store.db"
    assert found.tracking_uri == f"sqlite:///{found.home}/mlflow.db"


def test_a_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_settings({"REGULARS_HOME": "here"}).home == (tmp_path / "here").resolve()


def test_secrets_and_passwords_are_masked() -> None:
    env = {"REGULARS_TOKEN_SECRET": "s3cret", "REGULARS_DATABASE_URL": "postgresql://me:pass@db/shop"}
    shown = read_settings(env).masked()
    assert "s3cret" not in str(shown)
    assert shown["database_url"] == "postgresql://me:****@db/shop"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENGINE", "oracle"),
        ("TIMEZONE", "Mars/Base"),
        ("WORKERS", "many"),
        ("WORKERS", "0"),
        ("RISK_HIGH", "2"),
        ("ATTRIBUTION_DAYS", "16"),
        ("TIERS", "gold:10"),
        ("TIERS", "low:0,high"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"REGULARS_{name}.*{value}"):
        read_settings({f"REGULARS_{name}": value})


def test_loyalty_tiers_are_read_from_one_line() -> None:
    settings = read_settings({"REGULARS_TIERS": "member:0, friend:99.5"})
    assert settings.tiers == (("member", 0.0), ("friend", 99.5))
    assert settings.masked()["tiers"] == "member:0,friend:99.5"


def test_proxies_are_read_from_one_line() -> None:
    settings = read_settings({"REGULARS_TRUSTED_PROXIES": "10.0.0.5, 192.0.2.0/24"})
    assert settings.trusted_proxies == ("10.0.0.5", "192.0.2.0/24")
    assert settings.masked()["trusted_proxies"] == "10.0.0.5,192.0.2.0/24"
    assert read_settings({}).trusted_proxies == ()

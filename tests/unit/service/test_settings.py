"""Settings come from ESPALIER_… variables, once, and say where everything is kept."""

import os

import pytest
from pydantic import ValidationError

from adapters.store import database
from service.operations import logs
from service.settings import RENAMED, Settings, unknown


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    for name in [n for n in os.environ if n.startswith("ESPALIER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))


def test_everything_lies_in_the_home_folder_unless_urls_say_otherwise(tmp_path):
    settings = Settings()
    assert settings.database == f"sqlite:///{tmp_path / 'espalier.sqlite'}"
    assert settings.artifacts == str(tmp_path / "artifacts")
    assert settings.jobs_database == f"sqlite:///{tmp_path / 'jobs.sqlite'}"


def test_postgres_and_a_bucket_are_configuration(monkeypatch):
    monkeypatch.setenv("ESPALIER_DATABASE_URL", "postgresql+psycopg://db/espalier")
    monkeypatch.setenv("ESPALIER_ARTIFACTS_URL", "s3://bucket/espalier")
    settings = Settings()
    assert settings.database == settings.jobs_database == "postgresql+psycopg://db/espalier"
    assert settings.artifacts == "s3://bucket/espalier"
    monkeypatch.setenv("ESPALIER_JOBS_DATABASE_URL", "postgresql+psycopg://db/dbos")
    assert Settings().jobs_database == "postgresql+psycopg://db/dbos"


def test_a_relative_home_means_the_same_wherever_a_process_goes(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ESPALIER_HOME", "here")
    settings = Settings()
    assert settings.database == f"sqlite:///{tmp_path / 'here' / 'espalier.sqlite'}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEVICE", "tpu"),
        ("THREADS", "-1"),
        ("SERVERS", "-1"),
        ("MAX_WAITING", "0"),
        ("POLL_SECONDS", "0"),
        ("PREDICT_SECONDS", "0"),
        ("MAX_WAITING_BYTES", "0"),
        ("EMBEDDING_CACHE_BYTES", "-1"),
        ("WORKER_NICENESS", "20"),
    ],
)
def test_a_value_that_cannot_be_meant_stops_the_start(monkeypatch, name, value):
    monkeypatch.setenv(f"ESPALIER_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_settings_do_not_change_and_each_says_what_it_is():
    with pytest.raises(ValidationError):
        Settings().threads = 3
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ESPALIER_DEVICES", "did you mean ESPALIER_DEVICE?"),
        ("ESPALIER_MAX_EXAMPELS", "did you mean ESPALIER_MAX_EXAMPLES?"),
        ("espalier_databse_url", "did you mean ESPALIER_DATABASE_URL?"),
        ("ESPALIER_MAX_PREDICT_IMAGES", "it is called ESPALIER_MAX_PREDICT_INPUTS now"),
        ("espalier_tenant_images_per_second", "it is called ESPALIER_TENANT_INPUTS_PER_SECOND now"),
        ("ESPALIER_QQQQQQ", "docs/reference/settings.md lists all"),
    ],
)
def test_a_variable_that_is_no_setting_is_told_with_the_nearest_one(name, meant):
    (sentence,) = unknown({name: "secret", "ESPALIER_HOME": "/data", "PATH": "/bin"})
    assert f"{name} is no setting" in sentence and meant in sentence and "secret" not in sentence


def test_what_a_setting_was_called_leads_to_one_that_is_there():
    names = {f"ESPALIER_{name.upper()}" for name in Settings.model_fields}
    assert set(RENAMED.values()) <= names and not set(RENAMED) & names


def test_what_is_known_is_not_told():
    """Every setting, in any case, and what the command line and tests read."""
    known = [f"ESPALIER_{name.upper()}" for name in Settings.model_fields]
    assert unknown(dict.fromkeys([*known, "espalier_home", "ESPALIER_SERVER", "ESPALIER_TEST_POSTGRES"], "")) == []


def test_processes_say_so_when_they_start(monkeypatch, capsys):
    monkeypatch.setenv("ESPALIER_PRECISON", "int8")
    logs.configure("info", warnings=unknown(os.environ))
    assert "did you mean ESPALIER_PRECISION?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "setting",
    [{"keep_days": 1e12}, {"keep_days": 0}, {"keep_jobs": -1}, {"keep_jobs": 10**30}, {"sweep_seconds": 1e12}],
)
def test_what_no_sweep_could_count_with_is_refused_at_the_start(setting):
    with pytest.raises(ValidationError):
        Settings(**setting)


def test_a_new_home_is_its_owners_alone(tmp_path):
    settings = Settings(home=tmp_path / "new" / "home")
    database.connect(settings.database).dispose()
    assert settings.home.stat().st_mode & 0o777 == 0o700
    settings.home.chmod(0o750)  # somebody's own choice
    database.connect(settings.database).dispose()
    assert settings.home.stat().st_mode & 0o777 == 0o750

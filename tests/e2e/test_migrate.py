"""`espalier migrate`: a step of its own before an upgrade, and the way back after one."""

import socket

from support.services import espalier, free_port

from adapters.store import database

NEWEST = database.known_revisions()[-1]


def test_the_tables_come_up_go_back_and_come_up_again(tmp_path):
    """Twice is as once, and a name that is none is refused with those that are."""
    home = tmp_path / "home"
    assert f"none → {NEWEST}" in espalier("migrate", home=home).stdout
    assert f"{NEWEST} → {NEWEST}" in espalier("migrate", home=home).stdout
    assert f"{NEWEST} → 0004_blobs_in_use" in espalier("migrate", "--to", "0004_blobs_in_use", home=home).stdout
    refused = espalier("migrate", "--to", "0004", home=home, check=False)
    assert refused.returncode == 1 and "0004_blobs_in_use" in refused.stderr and "Traceback" not in refused.stderr
    assert f"→ {NEWEST}" in espalier("migrate", home=home).stdout


def test_a_database_that_does_not_come_is_a_sentence(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", free_port()))  # and does not listen
        url = f"postgresql+psycopg://nobody@127.0.0.1:{silent.getsockname()[1]}/nothing"
        failed = espalier("migrate", "--wait", "0.5", home=tmp_path, check=False, database_url=url)
    assert failed.returncode == 1 and "did not answer in 0.5 seconds" in failed.stderr
    assert "Traceback" not in failed.stderr

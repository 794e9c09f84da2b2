"""Keys: what is kept of them, who they let in, and until when."""

import asyncio
import base64
import time
from datetime import timedelta

import pytest
import sqlalchemy as sa

from adapters.errors import Conflict, InvalidInput, KeyNotFound, QuotaExceeded
from adapters.store.access import keys as store
from adapters.store.database import now
from adapters.store.schema import api_keys
from service.access import authenticator, exposure
from service.access.authenticator import Authenticator
from service.access.keys import administration, minting
from service.access.keys.keyring import KeyRing
from service.access.principal import LOCAL
from service.access.refusals import Forbidden, Unauthorized
from service.settings import Settings

ADMIN = "an-operators-own-secret-of-32-characters"


def make(engine, *scopes: str, tenant: str = "acme", days=None):
    return administration.create(
        engine, b"", tenant=tenant, name="test", scopes=list(scopes or ("read",)), days=days
    )  # fmt: skip


def ask(settings, ring, given=None, server="127.0.0.1", kind="Bearer"):
    headers = [(b"authorization", f"{kind} {given}".encode())] if given is not None else []
    scope = {"type": "http", "headers": headers, "server": (server, 3000)}
    return asyncio.run(Authenticator(settings, ring)(scope))


def test_no_secret_is_kept(engine):
    _, text = make(engine)
    secret = text.split("_", 2)[2]  # which may have a _ of its own
    with engine.connect() as connection:
        kept = repr(connection.execute(sa.select(api_keys)).all())
    assert secret[:8] not in kept and minting.digest(text) in kept


def test_a_pepper_makes_other_hashes(engine):
    _, text = make(engine)
    assert KeyRing(engine).find(text) is not None
    assert KeyRing(engine, b"another").find(text) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t[:-1] + ("a" if t[-1] != "a" else "b"),
        lambda t: t + "a",
        str.upper,
        lambda t: t.replace("esp_", ""),
        lambda t: "",
        lambda t: t[:15] + "\x00" + t[16:],
    ],
)
def test_a_key_that_is_nearly_right_opens_nothing(engine, change):
    _, text = make(engine)
    assert KeyRing(engine).find(change(text)) is None


def test_a_key_ends_when_it_is_revoked_and_when_its_time_is_over(engine):
    one, text = make(engine)
    ring = KeyRing(engine)
    store.revoke(engine, one.id)
    assert ring.find(text) is not None, "nobody has looked yet"
    ring.refresh()
    assert ring.find(text) is None
    _, short = make(engine, days=0.5 / 86400)
    ring.refresh()
    assert ring.find(short) is not None
    time.sleep(0.6)
    assert ring.find(short) is None


def test_rotation_overlaps_and_keeps_what_the_key_may(engine):
    old, before = make(engine, "predict:door-*", "read", days=10)
    new, after = administration.rotate(engine, b"", old, overlap=3600)
    ring = KeyRing(engine)
    assert ring.find(before).scopes == ring.find(after).scopes == ("predict:door-*", "read")
    assert (new.tenant, new.replaces) == ("acme", old.id)
    assert store.find(engine, old.id).expires_at < now() + timedelta(hours=1.1) < new.expires_at
    administration.rotate(engine, b"", new, overlap=0)
    ring.refresh()
    assert ring.find(before) is not None and ring.find(after) is None
    store.revoke(engine, new.id)
    with pytest.raises(Conflict):
        administration.rotate(engine, b"", store.find(engine, new.id), overlap=0)


def test_rotation_makes_no_key_live_longer(engine):
    old, before = make(engine, days=0.5 / 86400)
    administration.rotate(engine, b"", old, overlap=3600)
    time.sleep(0.6)
    assert KeyRing(engine).find(before) is None


@pytest.mark.parametrize("days", [None, 10])
def test_a_rotation_that_is_asked_for_again_names_the_key_in_its_place(engine, days):
    """The answer to the first was lost: the second must not make a key that ends with the overlap of the old one."""
    old, _ = make(engine, days=days)
    first, _ = administration.rotate(engine, b"", old, overlap=3600)
    with pytest.raises(Conflict, match=f"{first.id} stands in its place, so rotate that one"):
        administration.rotate(engine, b"", store.find(engine, old.id), overlap=3600)
    second, _ = administration.rotate(engine, b"", first, overlap=0)
    store.revoke(engine, second.id)
    third, _ = administration.rotate(engine, b"", store.find(engine, old.id), overlap=0)
    for key in (first, second, third):
        assert (key.expires_at is None) == (days is None)
        assert days is None or abs(key.expires_at - key.created_at - timedelta(days=days)) < timedelta(seconds=5)


def test_keys_of_another_tenant_are_not_there(engine):
    mine, _ = make(engine)
    theirs, _ = make(engine, tenant="other")
    assert [key.id for key in store.list_all(engine, "acme")] == [mine.id]
    refusals = []
    for key_id in (theirs.id, "aaaaaaaaaa"):
        for act in (store.find, store.revoke):
            with pytest.raises(KeyNotFound) as refusal:
                act(engine, key_id, "acme")
            refusals.append(refusal.value.message.replace(key_id, "ID"))
    assert len(set(refusals)) == 1


def test_every_change_is_seen_by_the_stamp(engine):
    seen = [store.stamp(engine)]
    one, _ = make(engine)
    seen.append(store.stamp(engine))
    administration.rotate(engine, b"", one)
    seen.append(store.stamp(engine))
    store.revoke(engine, one.id)
    seen.append(store.stamp(engine))
    store.note_used(engine, {one.id: now()})
    assert len(set(seen)) == 4 and store.stamp(engine) == seen[-1]


def test_last_use_is_noted_when_the_ring_stops(engine):
    one, text = make(engine)
    ring = KeyRing(engine, poll=60)
    ring.start()
    ring.find(text)
    ring.stop()
    assert abs(store.find(engine, one.id).last_used_at - now()) < timedelta(seconds=60)


def test_nobody_needs_a_key_until_there_is_one_and_everybody_from_then_on(engine):
    ring, settings = KeyRing(engine), Settings()
    assert ask(settings, ring) == LOCAL == ask(settings, ring, "anything")
    assert ask(settings, ring, server="::1") == ask(settings, ring, server="::ffff:127.0.0.1") == LOCAL
    one, text = make(engine, "read")
    store.revoke(engine, one.id)
    ring.refresh()
    for given in (None, text, "anything"):
        with pytest.raises(Unauthorized):
            ask(settings, ring, given)
    assert ask(Settings(access="open"), ring) == LOCAL


def test_the_operators_own_key_is_good_and_makes_all_others_needed(engine, tmp_path):
    ring, settings = KeyRing(engine), Settings(admin_key=ADMIN)
    assert ask(settings, ring, ADMIN).is_operator
    with pytest.raises(Unauthorized):
        ask(settings, ring)
    (tmp_path / "empty").write_text("\n")
    for wrong in (
        {"admin_key": "short"},
        {"admin_key_file": tmp_path / "empty"},
        {"admin_key_file": tmp_path / "none"},
        {"oidc_issuer": "https://x.example"},
    ):
        with pytest.raises(InvalidInput):
            authenticator.check(Settings(**wrong))
    (tmp_path / "secret").write_text(f"{ADMIN}\n")
    assert ask(Settings(admin_key_file=tmp_path / "secret"), ring, ADMIN).is_operator
    assert ADMIN not in repr(settings) + str(settings.model_dump())


def test_a_new_key_is_found_at_once_but_strangers_do_not_make_us_look(engine):
    ring, settings = KeyRing(engine), Settings(access="keys")
    _, text = make(engine)
    ring._looked = 0.0
    assert ask(settings, ring, text).tenant == "acme"
    _, unseen = make(engine)
    assert not ring.may_be_new(unseen), "somebody has looked a moment ago"
    ring._looked = 0.0
    assert [ring.may_be_new(unseen) for _ in range(3)] == [True, False, False], "of many at once one looks"
    assert not ring.may_be_new("no key of ours")


def test_a_browser_sends_the_key_as_the_password(engine):
    ring, settings = KeyRing(engine), Settings()
    _, text = make(engine)
    ring.refresh()
    for pair in (f"me:{text}", f":{text}"):
        assert ask(settings, ring, base64.b64encode(pair.encode()).decode(), kind="Basic").tenant == "acme"
    for value in ("", "!!!", base64.b64encode(b"nothing").decode(), base64.b64encode(b"me:").decode()):
        with pytest.raises(Unauthorized):
            ask(settings, ring, value, kind="Basic")
    with pytest.raises(Unauthorized):
        ask(settings, ring, text, kind="Digest")


def test_two_authorizations_are_none(engine):
    _, text = make(engine)
    scope = {"headers": [(b"authorization", f"Bearer {text}".encode())] * 2, "server": ("127.0.0.1", 1)}
    with pytest.raises(Unauthorized):
        asyncio.run(Authenticator(Settings(access="keys"), KeyRing(engine))(scope))


@pytest.mark.parametrize("server", ["10.0.0.7", "fe80::1", "8.8.8.8", "0.0.0.1", "::ffff:10.0.0.7"])
def test_without_keys_only_this_machine_is_answered(engine, server):
    ring = KeyRing(engine)
    with pytest.raises(Forbidden):
        ask(Settings(), ring, server=server)
    assert ask(Settings(insecure=True), ring, server=server) == LOCAL


@pytest.mark.parametrize(
    ("arguments", "environment", "host"),
    [
        (["serve", "x", "--host", "127.0.0.1"], {}, "127.0.0.1"),
        (["serve", "x", "--host=::1"], {"BENTOML_HOST": "0.0.0.0"}, "::1"),
        (["serve", "x"], {"BENTOML_HOST": "10.1.1.1"}, "10.1.1.1"),
        (["serve", "x"], {}, "0.0.0.0"),
    ],
)
def test_it_is_known_where_bentoml_listens(arguments, environment, host):
    assert exposure.of_command(arguments, environment) == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", ""])
def test_listening_on_more_than_this_machine_takes_keys_or_a_word(engine, host, tmp_path):
    url = str(engine.url)
    with pytest.raises(InvalidInput, match="ESPALIER_ADMIN_KEY"):
        exposure.refuse(host, Settings(database_url=url))
    exposure.refuse("127.0.0.1", Settings(database_url=url))
    exposure.refuse(host, Settings(database_url=url, insecure=True))
    exposure.refuse(host, Settings(database_url=url, access="keys"))
    exposure.refuse(host, Settings(database_url=url, admin_key=ADMIN))
    with pytest.raises(InvalidInput):
        exposure.refuse(host, Settings(database_url=url, access="open", admin_key=ADMIN))
    make(engine)
    exposure.refuse(host, Settings(database_url=url))


@pytest.mark.parametrize("limit", [1, 3, 7, 1000])
def test_pages_of_keys_have_each_once_the_oldest_first(engine, limit):
    """Also where several were made at one moment, and others' stand between them."""
    made = [make(engine, tenant="acme" if number % 3 else "other")[0] for number in range(10)]
    with engine.begin() as connection:
        connection.execute(api_keys.update().values(created_at=made[0].created_at))
    mine = sorted(key.id for key in made if key.tenant == "acme")
    assert [key.id for key in store.every(engine, "acme", limit)] == mine
    assert [key.id for key in store.every(engine, None, limit)] == sorted(key.id for key in made)
    with pytest.raises(KeyNotFound):
        store.page(engine, "other", limit=1, after=mine[0])


def test_a_tenant_has_so_many_good_keys_and_no_more(engine, monkeypatch):
    """All of them are in the memory of every process."""
    monkeypatch.setattr(store, "MOST", 3)
    made = [make(engine)[0] for _ in range(3)]
    make(engine, tenant="other")
    for refused in (lambda: make(engine), lambda: administration.rotate(engine, b"", made[0], overlap=60)):
        with pytest.raises(QuotaExceeded, match="revoke") as refusal:
            refused()
        assert (refusal.value.quota, refusal.value.limit, refusal.value.used) == ("keys", 3, 3)
    assert len(store.list_all(engine, "acme")) == 3
    assert store.find(engine, made[0].id).expires_at is None, "what was refused has changed nothing"
    assert administration.rotate(engine, b"", made[0], overlap=0)[0].replaces == made[0].id
    store.revoke(engine, made[1].id)
    make(engine)


def test_ended_keys_are_in_no_processs_memory(engine):
    old, _ = make(engine)
    make(engine, days=0.2 / 86400)
    store.revoke(engine, old.id)
    time.sleep(0.3)
    _, text = make(engine)
    ring = KeyRing(engine)
    assert len(ring._known) == 1 and ring.is_used and ring.find(text) is not None


def test_whoever_was_let_in_is_asked_again_while_it_stays(engine):
    """As a stream of events is, however long it is."""
    key, text = make(engine)
    ring = KeyRing(engine)
    who = Authenticator(Settings(access="keys"), ring)
    scope = {"type": "http", "headers": [(b"authorization", f"Bearer {text}".encode())], "server": ("127.0.0.1", 1)}
    assert asyncio.run(who.lets_in(scope))
    store.revoke(engine, key.id)
    ring.refresh()
    assert not asyncio.run(who.lets_in(scope))

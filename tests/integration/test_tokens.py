"""Bearer tokens against a real issuer: which are proven, what they give, and how often the issuer is asked."""

import asyncio
import base64
import hmac
import json
import time

import pytest
from joserfc.jwk import OctKey, RSAKey
from support.oidc_server import AUDIENCE, OidcServer
from support.services import eventually

from adapters.errors import InvalidInput, NotReady
from service.access.oidc import claims
from service.access.oidc.issuer import Issuer
from service.access.oidc.tokens import Tokens
from service.access.refusals import Forbidden
from service.settings import Settings

RULES = """
[[rule]]
when = { groups = "platform" }
tenant = ""
scopes = ["admin"]

[[rule]]
when = { "realm_access.roles" = "vision", email_verified = true }
tenant = "{org}"
scopes = ["predict:door-*", "read"]
"""
VISION = {"realm_access": {"roles": ["vision", "other"]}, "email_verified": True, "org": "acme"}


@pytest.fixture
def issuer():
    server = OidcServer().start()
    yield server
    server.is_silent = server.is_slow = False
    server.stop()


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return path


@pytest.fixture
def tokens(issuer, rules):
    return Tokens(Issuer(issuer.url, seldom=0.0, again=0.0), AUDIENCE, claims.read(rules))


def find(tokens, text):
    return asyncio.run(tokens.find(text))


def test_claims_give_a_tenant_and_scopes_by_the_first_rule_that_fits(issuer, tokens):
    who = find(tokens, issuer.token(**VISION))
    assert (who.tenant, who.name, who.scopes) == ("acme", "token:somebody", ("predict:door-*", "read"))
    assert find(tokens, issuer.token(groups=["x", "platform"], **VISION)).is_operator


@pytest.mark.parametrize(
    "lacking", [{"realm_access": {"roles": "visions"}}, {"email_verified": "true"}, {"realm_access": 1}]
)
def test_a_token_that_no_rule_fits_is_forbidden(issuer, tokens, lacking):
    with pytest.raises(Forbidden):
        find(tokens, issuer.token(**(VISION | lacking)))


@pytest.mark.parametrize("org", [None, "", "A", "a/b", ["acme"], "../x", "a" * 41])
def test_a_claim_names_no_other_than_a_named_tenant(issuer, tokens, org):
    """Nothing at all would be the default tenant, whose administrators are the operators."""
    with pytest.raises(Forbidden):
        find(tokens, issuer.token(**(VISION | {"org": org})))


def other_key():
    return RSAKey.generate_key(2048, {"kid": "first"})


def encoded(part) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def confused(issuer) -> str:
    """Signed with what everybody knows, for whoever takes the algorithm from the token (CVE-2015-9235)."""
    said = {"iss": issuer.url, "aud": AUDIENCE, "sub": "x", "exp": 2**33}
    text = f"{encoded({'alg': 'HS256', 'kid': 'first'})}.{encoded(said)}"
    return f"{text}.{encoded(hmac.digest(issuer.keys[0].as_pem(private=False), text.encode(), 'sha256'))}"


BAD = {
    "another issuer": lambda i: i.token(iss="https://evil.example"),
    "another audience": lambda i: i.token(aud="other"),
    "no audience": lambda i: i.token(aud=None),
    "over": lambda i: i.token(exp=int(time.time()) - 60),
    "no end": lambda i: i.token(exp=None),
    "not yet": lambda i: i.token(nbf=int(time.time()) + 600),
    "nobody's": lambda i: i.token(sub=None),
    "another's key under the same name": lambda i: i.token(other_key()),
    "a shared secret": lambda i: i.token(OctKey.import_key(b"x" * 32, {"kid": "first"}), "HS256"),
    "the public key as a shared secret": lambda i: confused(i),
    "unsigned": lambda i: ".".join(
        [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in
         ({"alg": "none", "kid": "first"}, {"iss": i.url, "aud": AUDIENCE, "sub": "x", "exp": 2**33})] + [""]
    ),
    "changed": lambda i: "".join(
        [*i.token(**VISION).rpartition(".")[:2], base64.urlsafe_b64encode(b"x" * 256).decode().rstrip("=")]
    ),
    "three dots of nothing": lambda i: "..",
    "no JSON": lambda i: "YQ.YQ.YQ",
    "a list for a header": lambda i: "W10.W10.W10",
    "letters that are none": lambda i: "ä.ö.ü",
    "an address in the header": lambda i: i.token(other_key(), header={"jku": f"{i.url}/evil", "kid": "evil"}),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("what", BAD)
def test_a_token_that_is_not_proven_is_nobodys(issuer, tokens, what):
    assert find(tokens, BAD[what](issuer)) is None
    assert "/evil" not in issuer.asked, "where keys are is the operator's word, never the token's"


def test_an_issuers_new_key_is_found_and_a_withdrawn_one_proves_nothing(issuer, tokens):
    before = issuer.token(**VISION)
    issuer.rotate("second")
    assert find(tokens, issuer.token(**VISION)).tenant == "acme"
    assert find(tokens, before) is None


def test_made_up_ids_of_keys_do_not_make_us_ask_the_issuer(issuer, rules):
    tokens = Tokens(Issuer(issuer.url), AUDIENCE, claims.read(rules))
    assert find(tokens, issuer.token(**VISION)) is not None
    for number in range(20):
        assert find(tokens, issuer.token(RSAKey.generate_key(2048, {"kid": f"made-up-{number}"}), **VISION)) is None
    assert issuer.asked.count("/keys") == 1


def test_a_proven_token_costs_no_second_proof_and_ends_when_it_says(issuer, tokens, monkeypatch):
    text = issuer.token(exp=int(time.time()) + 100, **VISION)
    assert find(tokens, text) is not None
    monkeypatch.setattr(tokens, "_proven", lambda text, keys: pytest.fail("it was proven a moment ago"))
    assert find(tokens, text) is not None
    later = time.time() + 131
    monkeypatch.setattr(time, "time", lambda: later)
    monkeypatch.setattr(tokens, "_proven", lambda text, keys: None)
    assert find(tokens, text) is None


@pytest.mark.parametrize("document", [
    {"issuer": "https://evil.example", "jwks_uri": "https://evil.example/keys"}, {}, [], b"{", b"x" * (2 << 20), None,
    {"issuer": None, "jwks_uri": "file:///etc/passwd"},
])  # fmt: skip
def test_an_issuer_that_talks_nonsense_proves_nothing(issuer, tokens, document):
    issuer.documents["/.well-known/openid-configuration"] = document
    with pytest.raises(NotReady):
        find(tokens, issuer.token(**VISION))


def test_keys_are_fetched_over_https_or_from_this_machine(issuer, tokens):
    issuer.documents["/.well-known/openid-configuration"] = {"issuer": issuer.url, "jwks_uri": "http://10.0.0.1/keys"}
    with pytest.raises(NotReady):
        find(tokens, issuer.token(**VISION))
    for url in ("http://example.com", "file:///x", "ftp://x", "example.com"):
        with pytest.raises(InvalidInput):
            Issuer(url)


def test_what_was_known_counts_on_while_the_issuer_is_away(issuer, rules):
    clock = Clock()
    tokens = Tokens(Issuer(issuer.url, clock=clock), AUDIENCE, claims.read(rules))
    assert find(tokens, issuer.token(**VISION)) is not None
    issuer.documents["/.well-known/openid-configuration"] = b"gone"
    clock.now += 7200  # seconds: it is time to look again
    assert find(tokens, issuer.token(sub="another", **VISION)) is not None
    clock.now += 24 * 3600
    with pytest.raises(NotReady):
        find(tokens, issuer.token(sub="a third", **VISION))


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


HANG = 60.0  # seconds: longer than a test


def hang(issuer, way="is_silent"):
    setattr(issuer, way, True)


def test_an_issuer_that_hangs_keeps_nobody_waiting_whose_key_is_known(issuer, rules):
    """Not even once the keys are old, and while others wait for a key that nobody knows."""
    clock = Clock()
    tokens = Tokens(Issuer(issuer.url, clock=clock, seconds=HANG), AUDIENCE, claims.read(rules))
    assert find(tokens, issuer.token(**VISION)) is not None
    hang(issuer)
    clock.now += 7200

    async def all_at_once():
        made_up = [asyncio.create_task(tokens.find(issuer.token(header={"kid": f"k{number}"}))) for number in range(10)]
        await asyncio.sleep(0.05)  # they wait
        found = [await tokens.find(issuer.token(sub=f"s{number}", **VISION)) for number in range(5)]
        waiting = [task for task in made_up if not task.done()]
        for task in made_up:
            task.cancel()
        return found, len(waiting)

    found, waiting = asyncio.run(all_at_once())
    assert all(found) and waiting == 10
    assert eventually(lambda: len(issuer.asked) == 3), "two for the first look, and one that all wait for"


@pytest.mark.parametrize("way", ["is_silent", "is_slow"])
def test_who_needs_an_unknown_key_of_an_issuer_that_hangs_is_told_when_to_come_back(issuer, rules, way):
    tokens = Tokens(Issuer(issuer.url, seldom=0.0, again=7.0, seconds=0.2), AUDIENCE, claims.read(rules))
    assert find(tokens, issuer.token(**VISION)) is not None
    hang(issuer, way)
    before = issuer.token(sub="another", **VISION)
    issuer.rotate("second")
    for _ in range(3):
        with pytest.raises(NotReady) as told:
            find(tokens, issuer.token(**VISION))
        assert 0 < told.value.retry_after <= 7
    assert len(issuer.asked) == 3, "nobody asks it again before that"
    assert find(tokens, before).tenant == "acme"


def test_a_new_key_is_found_once_the_issuer_answers_again(issuer, rules):
    tokens = Tokens(Issuer(issuer.url, seldom=0.0, again=0.0, seconds=0.2), AUDIENCE, claims.read(rules))
    hang(issuer)
    with pytest.raises(NotReady):
        find(tokens, issuer.token(**VISION))
    issuer.is_silent = False
    assert find(tokens, issuer.token(**VISION)).tenant == "acme"


def test_old_keys_are_looked_for_anew_while_they_count_on(issuer, rules):
    clock = Clock()
    tokens = Tokens(Issuer(issuer.url, clock=clock), AUDIENCE, claims.read(rules))
    before = issuer.token(sub="another", **VISION)
    assert find(tokens, issuer.token(**VISION)) is not None
    issuer.rotate("second")
    clock.now += 7200
    assert find(tokens, before) is not None
    assert eventually(lambda: tokens._issuer._known.since == clock.now)
    assert find(tokens, issuer.token(sub="a third", **VISION)) is not None


UNUSABLE = {
    "unknown-curve": {"kty": "EC", "crv": "BP-256", "kid": "odd", "x": "AA", "y": "AA"},
    "unknown-curve-of-okp": {"kty": "OKP", "crv": "X999", "kid": "odd", "x": "AA"},
    "member-missing": {"kty": "RSA", "kid": "odd"},
    "off-its-curve": {"kty": "EC", "crv": "P-256", "kid": "odd", "x": "AA", "y": "AA"},
    "unknown-kind": {"kty": ["AKP"], "kid": "odd"},
}


@pytest.mark.parametrize("odd", UNUSABLE.values(), ids=UNUSABLE)
def test_a_key_that_cannot_be_used_takes_none_of_the_others_with_it(issuer, tokens, caplog, odd):
    """RFC 7517, section 5. What is logged of it is no part of the key."""
    issuer.documents["/keys"] = {"keys": [odd, *(key.as_dict(private=False) for key in issuer.keys)]}
    assert find(tokens, issuer.token(**VISION)).tenant == "acme"
    assert find(tokens, issuer.token(header={"kid": "odd"}, **VISION)) is None
    assert "AA" not in caplog.text and ("passing over" in caplog.text) == isinstance(odd["kty"], str)


def test_an_issuer_none_of_whose_keys_can_be_used_is_as_one_that_does_not_answer(issuer, tokens):
    issuer.documents["/keys"] = {"keys": list(UNUSABLE.values())}
    with pytest.raises(NotReady):
        find(tokens, issuer.token(**VISION))


@pytest.mark.parametrize("text", [
    "", "[[rule]]\n", "[[rule]]\ntenant='a'\nscopes=['fly']", "[[rule]]\ntenant='A b'\nscopes=['read']", "rule = 3",
    "[[rule]]\ntenant='a'\nscopes=['read']\nwhenever={}", "[[rule]]\ntenant='a'\nscopes='read'", "not toml",
    "[[rule]]\ntenant='acme'\nscopes=['metrics']",
])  # fmt: skip
def test_rules_that_cannot_be_meant_are_refused_at_the_start(tmp_path, text):
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(InvalidInput):
        claims.read(path)


def test_an_issuer_without_audience_and_rules_is_refused():
    with pytest.raises(InvalidInput, match="ESPALIER_OIDC_RULES"):
        Tokens.of(Settings(oidc_issuer="https://issuer.example", oidc_audience="x"))

"""Who may what: scopes, and whose heads names mean."""

import pytest

from adapters import tenancy
from adapters.errors import InvalidInput
from service.access.principal import LOCAL, Call, Principal, calling, checked_scopes, current, mine
from service.access.refusals import Forbidden


def acting(*scopes: str, tenant: str = "acme", verb: str = "predict"):
    return calling(Call(Principal(tenant, "key", scopes), verb))


def test_no_verb_includes_another_but_admin_is_all():
    reader, admin = Principal("", "k", ("read",)), Principal("", "k", ("admin",))
    assert [reader.allows(verb) for verb in ("read", "predict", "teach", "manage", "metrics", "admin")] == [
        True, False, False, False, False, False,
    ]  # fmt: skip
    assert all(admin.allows(verb, "any") for verb in ("read", "predict", "teach", "manage", "metrics", "admin"))


def test_what_is_of_all_tenants_is_for_no_tenants_administrator():
    for scopes in (("admin",), ("metrics",), ("admin", "metrics")):
        assert not Principal("acme", "k", scopes).allows("metrics")
        assert Principal("", "k", scopes).allows("metrics")


def test_a_pattern_limits_a_verb_to_some_heads():
    who = Principal("acme", "k", ("predict:door-*", "predict:gate", "read"))
    assert [who.allows("predict", head) for head in ("door-1", "gate", "gate-1", "window")] == [
        True,
        True,
        False,
        False,
    ]
    assert who.allows("predict") and who.allows("read", "window")
    assert (who.patterns("predict"), who.patterns("read"), who.patterns("teach")) == (("door-*", "gate"), None, ())


def test_a_head_is_the_callers_tenants():
    assert mine("cats") == "cats" and current() == LOCAL
    with acting("predict"):
        assert mine("cats") == "acme/cats"
    assert mine("cats") == "cats"


def test_a_head_beyond_the_pattern_is_refused_by_the_scope_that_is_lacking():
    with acting("predict:dogs"), pytest.raises(Forbidden) as refusal:
        mine("cats")
    assert refusal.value.item == "predict:cats"


@pytest.mark.parametrize("named", ["acme/cats", "/cats", "other/acme/cats", "acme//cats", "acme/"])
@pytest.mark.parametrize("tenant", ["", "other", "acme"])
def test_nobody_names_another_tenants_head(named, tenant):
    with acting("admin", tenant=tenant):
        found = mine(named)
    assert found != "acme/cats" and not any(found == tenancy.qualified(t, "cats") for t in ("", "acme", "other"))


@pytest.mark.parametrize("name", ["cats", "a.b_c-1"])
@pytest.mark.parametrize("tenant", ["", "acme", "a-1"])
def test_a_qualified_name_comes_apart_as_it_was_put_together(tenant, name):
    whole = tenancy.qualified(tenant, name)
    assert (tenancy.tenant_of(whole), tenancy.shown(whole)) == (tenant, name)


@pytest.mark.parametrize("name", ["A", "a/b", "-a", "a-", "a b", "a" * 41, "ä", "a\n"])
def test_a_tenants_name_is_plain(name):
    assert not tenancy.is_tenant(name)


@pytest.mark.parametrize(
    "scope", ["fly", "predict:", "predict:a b", "metrics:x", "admin:x", "Predict", "predict:a:b", ""]
)
def test_a_scope_that_is_none_is_refused(scope):
    with pytest.raises(InvalidInput):
        checked_scopes([scope], "")


def test_only_the_default_tenant_sees_metrics():
    assert checked_scopes(["metrics", "read", "read"], "") == ("metrics", "read")
    with pytest.raises(InvalidInput):
        checked_scopes(["metrics"], "acme")

"""Default deny: a route is let through by its row of the table, and by nothing else."""

import asyncio
import importlib
import pkgutil

import pytest
from fastapi import APIRouter
from starlette.exceptions import HTTPException

from service import api
from service.access.authorization import Authorization
from service.access.principal import Principal
from service.access.refusals import Forbidden, Unauthorized
from service.access.rules import OPEN, TABLE, Rules
from service.access.same_site import READS
from service.api import application
from service.api.routing import Route
from service.audit.trail import ASKS, CHANGES_NOTHING

APP = application.build()
PATHS = {(path, method.upper()) for path, methods in APP.openapi()["paths"].items() for method in methods}
UNDOCUMENTED = {"/docs", "/docs/oauth2-redirect", "/openapi.json", "/schema.json", "/docs.json", "/healthz"}
OURS = {("/livez", "GET"), ("/healthz", "GET"), ("/readyz", "GET")}


def admit(method, path, *scopes, known=True, tenant=""):
    async def authenticate(scope):
        if not known:
            raise Unauthorized("no key")
        return Principal(tenant, "key", scopes)

    return asyncio.run(Authorization(authenticate).authorize({"method": method, "path": path}))


def test_every_route_has_a_row_and_every_row_a_route():
    """A route without a row would answer 404 to everybody; a row without a route would let its successor through."""
    rows = {(path, method) for path, methods in TABLE for method in methods}
    static = {("/static-offline-docs/{file}", "GET"), ("/static-offline-docs/{file}", "HEAD")}
    assert rows - PATHS - static == {(path, "GET") for path in UNDOCUMENTED}
    assert rows >= PATHS


def test_every_route_is_of_the_kind_that_makes_names_the_callers_own():
    """`head` and `job_id` in an address are the caller's tenant's by rule: in routes of `routing.router` alone."""
    walked = pkgutil.walk_packages(api.__path__, "service.api.")
    files = [importlib.import_module(found.name) for found in walked]
    routes = [route for file in files if isinstance(router := vars(file).get("router"), APIRouter)
              for route in router.routes]  # fmt: skip
    assert {(route.path_format, method) for route in routes for method in route.methods} >= PATHS
    assert all(isinstance(route, Route) for route in routes)


def test_every_row_finds_itself():
    """No row lies behind another whose pattern fits, too, with other verbs."""
    for path, methods in TABLE:
        asked = path.replace("{", "").replace("}", "")
        assert Rules().find(asked).methods == methods, path


def test_all_that_is_open_is_what_an_orchestrator_asks_for():
    assert {(path, method) for path, methods in TABLE for method, verb in methods.items() if verb == OPEN} == OURS


@pytest.mark.parametrize(("path", "method"), sorted((p, m) for p, ms in TABLE for m in ms))
def test_without_a_key_nothing_else_answers(path, method):
    asked = path.replace("{", "").replace("}", "")
    if (path, method) in OURS:
        admit(method, asked, known=False)
    else:
        with pytest.raises(Unauthorized):
            admit(method, asked, known=False)


@pytest.mark.parametrize("path", ["/nowhere", "/heads/x/y/z/w", "/bento/predict2", "//", "/heads/", "/predict/"])
def test_what_has_no_row_is_not_there_and_strangers_do_not_learn_that(path):
    with pytest.raises(Unauthorized):
        admit("GET", path, known=False)
    with pytest.raises(HTTPException) as refusal:
        admit("GET", path, "admin")
    assert refusal.value.status_code == 404


def test_a_method_without_a_verb_is_refused_even_if_a_route_has_it():
    with pytest.raises(HTTPException) as refusal:
        admit("PATCH", "/heads/x", "admin")
    assert (refusal.value.status_code, refusal.value.headers) == (405, {"Allow": "DELETE, GET"})


@pytest.mark.parametrize(("path", "method", "verb"), sorted((p, m, v) for p, ms in TABLE for m, v in ms.items()))
def test_another_verb_does_not_do(path, method, verb):
    others = [v for v in ("predict", "read", "teach", "manage", "metrics") if v != verb]
    asked = path.replace("{", "").replace("}", "")
    if verb in ("any", OPEN):
        assert admit(method, asked, *others).verb is None
        return
    with pytest.raises(Forbidden) as refusal:
        admit(method, asked, *others)
    assert refusal.value.item == verb
    assert admit(method, asked, verb).verb == verb


@pytest.mark.parametrize("path", [path for path, ways in TABLE if "metrics" in ways.values()])
def test_what_is_of_all_tenants_is_refused_to_a_tenants_administrator(path):
    with pytest.raises(Forbidden):
        admit("GET", path, "admin", tenant="acme")
    assert admit("GET", path, "admin").verb == "metrics"


def test_whatever_is_no_read_is_recorded_or_known_to_change_nothing():
    """A new route that posts is in the audit log by rule, unless its verb, or a row of ours, says that it only asks."""
    ways = {(path, method): verb for path, methods in TABLE for method, verb in methods.items() if method not in READS}
    silent = {path for (path, _), verb in ways.items() if verb in CHANGES_NOTHING or path in ASKS}
    assert silent == {"/predict", "/bento/predict", "/embed", "/heads/{head}/suggest"}
    assert OPEN not in ways.values() and "any" not in ways.values()

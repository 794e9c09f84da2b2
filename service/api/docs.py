"""/docs: the page that tries the API out, with all its scripts from here, and a policy that lets no others run."""

import base64
import hashlib
import re
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html, get_swagger_ui_oauth2_redirect_html
from fastapi.responses import HTMLResponse

STATIC = "/static-offline-docs"  # where fastapi-offline puts the scripts
INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def install(app: FastAPI) -> None:
    """Add the pages. FastAPI's own load their scripts from a public CDN: blank where there is no way out."""

    async def page(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        ui = get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=f"{app.title} - API",
            oauth2_redirect_url=f"{root}{app.swagger_ui_oauth2_redirect_url}",
            swagger_js_url=f"{root}{STATIC}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{STATIC}/swagger-ui.css",
            swagger_favicon_url=f"{root}{STATIC}/favicon.png",
        )
        return _closed(ui)

    async def redirect() -> HTMLResponse:
        return _closed(get_swagger_ui_oauth2_redirect_html())

    app.add_api_route("/docs", page, include_in_schema=False, response_class=HTMLResponse)
    app.add_api_route(str(app.swagger_ui_oauth2_redirect_url), redirect, include_in_schema=False)


def _closed(page: Any) -> HTMLResponse:
    """The page with a policy: scripts of ours and those in the page by their hashes. Swagger UI sets styles inline."""
    text = page.body.decode()
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in INLINE.findall(text)]
    scripts = " ".join(["'self'", *(f"'sha256-{digest}'" for digest in hashes)])
    styles, pictures = "style-src 'self' 'unsafe-inline'", "img-src 'self' data:"
    rest = "connect-src 'self'; base-uri 'none'; form-action 'none'"
    policy = f"default-src 'none'; script-src {scripts}; {styles}; {pictures}; {rest}"
    return HTMLResponse(text, headers={"Content-Security-Policy": policy})

"""What the web server answers under `/temper`: a list of all pages, each page, and the way on to an MLflow run.

GET and HEAD only. A page may hold any text that a model wrote, and it shares its origin with Dagster's UI: so the
browser is told to run nothing in it, to load nothing for it, and to treat it as an origin of its own.
"""

import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from assets.addresses import PAGES, ROOT
from assets.pages import all_pages, read_page
from assets.tracking import Tracker
from evaluation.pages.listing import render_listing
from lineage.errors import StoreError
from lineage.store import Store

_HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_NO_PAGE = f"There is no such page, or its artefact has been deleted. All pages: {PAGES}\n"
_NO_RUN = "No MLflow run of this artefact is known here; it may be in another MLflow than the one in use now.\n"
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


def routes(home: Path) -> list[BaseRoute]:
    """For an application that has no other answer under `/temper`."""
    store, tracker = Store(home), Tracker(home)

    def listing(_request: Request) -> Response:
        return HTMLResponse(render_listing(all_pages(store)), headers=_HEADERS)

    def page(request: Request) -> Response:
        try:
            html = read_page(store, **request.path_params)
        except StoreError as error:
            return _said(str(error), 410)
        return _said(_NO_PAGE, 404) if html is None else HTMLResponse(html, headers=_HEADERS)

    def mlflow_run(request: Request) -> Response:
        fingerprint = request.path_params["fingerprint"]
        url = tracker.url(fingerprint) if _FINGERPRINT.fullmatch(fingerprint) else None
        return _said(_NO_RUN, 404) if url is None else RedirectResponse(url, headers=_HEADERS)

    return [
        Mount(
            ROOT,
            routes=[
                Route("/pages", listing),
                Route("/pages/{recipe}/{node:path}/{fingerprint}", page),
                Route("/mlflow/{fingerprint}", mlflow_run),
                Route("/{rest:path}", lambda _request: _said(_NO_PAGE, 404)),
            ],
        )
    ]


def _said(sentence: str, status: int) -> Response:
    return PlainTextResponse(sentence, status, headers=_HEADERS)

"""The dashboard: a page for people that holds nothing itself, and asks the service with the key that is typed into it."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parents[1] / "page"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@router.get("/")
def dashboard() -> FileResponse:
    return FileResponse(FOLDER / "dashboard.html", headers=HEADERS)


@router.get("/dashboard.js")
def script() -> FileResponse:
    return FileResponse(FOLDER / "dashboard.js", media_type="text/javascript", headers=HEADERS)


@router.get("/dashboard.css")
def style() -> FileResponse:
    return FileResponse(FOLDER / "dashboard.css", headers=HEADERS)

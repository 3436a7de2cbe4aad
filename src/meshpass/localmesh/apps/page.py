"""Page: what productpage shows to people, as HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

PRODUCTS = (
    {
        "id": 0,
        "title": "The Comedy of Errors",
        "descriptionHtml": (
            "An early comedy by <b>William Shakespeare</b>, and his shortest play: two pairs of twins, parted at sea, "
            "are in one town for one day. More of it at "
            '<a href="https://en.wikipedia.org/wiki/The_Comedy_of_Errors">Wikipedia</a>.'
        ),
    },
)
"""All books that there are."""

STYLE = """\
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: #222; background: #f6f5f2; }
header { display: flex; justify-content: space-between; align-items: baseline; padding: .8em 2em; background: #24405c; }
header, header a { color: #fff; }
header input { width: 9em; }
main { max-width: 60em; margin: 0 auto; padding: 1em 2em; }
section { margin: 1em 0; padding: .5em 1.5em; background: #fff; border: 1px solid #ddd; border-radius: 6px; }
th { padding-right: 2em; text-align: left; font-weight: 600; }
blockquote { margin: 1em 0; padding-left: 1em; border-left: 3px solid #24405c; }
footer { color: #666; }
.stars { letter-spacing: .1em; }
.unavailable { color: #a33; }
"""

_FIELDS = {
    "type": "Type",
    "author": "Author",
    "year": "Year",
    "pages": "Pages",
    "publisher": "Publisher",
    "language": "Language",
    "ISBN-10": "ISBN-10",
    "ISBN-13": "ISBN-13",
}
_MOST_STARS = 5


def render_index(services: Mapping[str, str]) -> str:
    """The first page: where the product page is, and which service is asked at which address."""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(address)}</td></tr>" for name, address in services.items())
    return _render(
        "Bookinfo",
        "",
        f'<h1>Bookinfo</h1><p><a href="/productpage">The product page</a> shows a book. It asks these services:</p>'
        f"<section><table>{rows}</table></section>",
    )


def render_product(
    product: Mapping[str, Any], *, details: Mapping[str, Any] | None, reviews: Mapping[str, Any] | None, user: str
) -> str:
    """The page of one book. None for details or reviews: the page says that they are not available."""
    body = (
        f"<h1>{escape(product['title'])}</h1><p>{product['descriptionHtml']}</p>"
        f'<section id="details"><h2>Book details</h2>{_render_details(details)}</section>'
        f'<section id="reviews"><h2>Book reviews</h2>{"".join(_render_reviews(reviews))}</section>'
    )
    return _render(product["title"], _render_user(user), body)


def _render(title: str, user: str, body: str) -> str:
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="/static/bookinfo.css"></head>\n'
        f'<body><header><a href="/">Bookinfo</a>{user}</header>\n<main>{body}</main></body></html>\n'
    )


def _render_user(user: str) -> str:
    if user:
        return f'<span>{escape(user)} (<a href="/logout">sign out</a>)</span>'
    return (
        '<form method="post" action="/login"><input name="username" placeholder="name" aria-label="name" required> '
        "<button>Sign in</button></form>"
    )


def _render_details(details: Mapping[str, Any] | None) -> str:
    if details is None:
        return _render_unavailable("details")
    rows = (
        f"<tr><th>{title}</th><td>{escape(str(details[field]))}</td></tr>"
        for field, title in _FIELDS.items()
        if field in details
    )
    return f"<table>{''.join(rows)}</table>"


def _render_reviews(reviews: Mapping[str, Any] | None) -> Iterator[str]:
    found = (reviews or {}).get("reviews")
    if reviews is None or not isinstance(found, list):
        yield _render_unavailable("reviews")
        return
    for review in found:
        if isinstance(review, dict):
            text, who = escape(str(review.get("text", ""))), escape(str(review.get("reviewer", "")))
            yield f"<blockquote><p>{text}</p><footer>{who}{_render_rating(review.get('rating'))}</footer></blockquote>"
    pod, cluster = (escape(str(reviews.get(name, ""))) for name in ("podname", "clustername"))
    yield f"<footer>Reviews by {pod}, cluster {cluster}</footer>"


def _render_rating(rating: Any) -> str:
    if not isinstance(rating, dict):
        return ""
    stars = rating.get("stars")
    if not isinstance(stars, int):
        return ' <span class="unavailable">ratings are currently unavailable</span>'
    count = max(0, min(_MOST_STARS, stars))
    shown = "★" * count + "☆" * (_MOST_STARS - count)
    colour = escape(str(rating.get("color", "black")))
    return f' <span class="stars" style="color: {colour}" title="{count} of {_MOST_STARS}">{shown}</span>'


def _render_unavailable(what: str) -> str:
    return f'<p class="unavailable">Product {what} are currently unavailable.</p>'

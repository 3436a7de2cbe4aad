"""Bookinfo's programs answer on the paths and in the shapes of the well-known sample."""

from __future__ import annotations

import http.cookiejar
import re
from html.parser import HTMLParser

import httpx2 as httpx
import pytest

from meshpass.localmesh.apps import details, productpage, ratings, reviews
from meshpass.localmesh.apps.upstream import make_client, upstream_address

IDENTITY = {"HOSTNAME": "reviews-v2-pod", "CLUSTER_NAME": "cluster1"}


def browse(application):
    transport = httpx.ASGITransport(app=application, client=("127.0.0.9", 5))
    return httpx.AsyncClient(transport=transport, base_url="http://bookinfo.example.com")


class Services:
    """Stands for the sidecar: hands requests to the programs by host, and notes them."""

    def __init__(self, **answers):
        self.answers = answers
        self.requests = []

    @property
    def client(self):
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def asked(self, name):
        return [request for request in self.requests if request.url.host == name]

    async def _answer(self, request):
        self.requests.append(request)
        answer = self.answers.get(request.url.host, 503)
        if isinstance(answer, int):
            return httpx.Response(answer, text="no healthy upstream")
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        async with browse(answer) as client:
            return await client.request(request.method, request.url, headers=request.headers)


def bookinfo(version="v2", **changed):
    """All four programs, with some answers changed; and the productpage's client."""
    backends = Services(ratings=changed.get("ratings", ratings.build_application()))
    shown = reviews.build_application({**IDENTITY, "SERVICE_VERSION": version}, backends.client)
    services = Services(**({"details": details.build_application(), "reviews": shown} | changed))
    return browse(productpage.build_application({}, services.client)), services, backends


async def test_details():
    """A number is a book, anything else a mistake."""
    async with browse(details.build_application()) as client:
        found = (await client.get("/details/7")).json()
        assert list(found) == [
            *("id", "author", "year", "type", "pages", "publisher", "language", "ISBN-10", "ISBN-13"),
        ]
        assert (found["id"], found["year"]) == (7, 1595)
        for path in ("/details/x", "/details/-1", "/details/" + "9" * 5000):
            wrong = await client.get(path)
            assert (wrong.status_code, list(wrong.json())) == (400, ["error"])
        assert (await client.get("/health")).json() == {"status": "Details is healthy"}


async def test_ratings_can_be_changed():
    """POST answers what GET says from then on, for that book alone."""
    async with browse(ratings.build_application()) as client:
        first = {"id": 0, "ratings": {"Reviewer1": 5, "Reviewer2": 4}}
        assert (await client.get("/ratings/0")).json() == first
        changed = {"id": 1, "ratings": {"Reviewer1": 1}}
        assert (await client.post("/ratings/1", json={"Reviewer1": 1})).json() == changed
        assert (await client.get("/ratings/1")).json() == changed
        assert (await client.get("/ratings/0")).json() == first
        for path, body, status in (
            ("/ratings/x", b"{}", 400),
            ("/ratings/1", b"{", 400),
            ("/ratings/1", b"1" * 20000, 413),
        ):
            assert (await client.post(path, content=body)).status_code == status
        assert (await client.get("/health")).json() == {"status": "Ratings is healthy"}


async def test_ratings_forget_rather_than_grow():
    """Of a thousand and one changed books the first has its ratings back."""
    async with browse(ratings.build_application()) as client:
        for number in range(1, 1002):
            await client.post(f"/ratings/{number}", json={})
        assert (await client.get("/ratings/1")).json()["ratings"] == {"Reviewer1": 5, "Reviewer2": 4}
        assert (await client.get("/ratings/2")).json()["ratings"] == {}


@pytest.mark.parametrize(
    ("version", "shown"),
    [
        ("v1", [None, None]),
        ("v2", [{"stars": 5, "color": "black"}, {"stars": 4, "color": "black"}]),
        ("v3", [{"stars": 5, "color": "red"}, {"stars": 4, "color": "red"}]),
    ],
)
async def test_versions_of_reviews_differ_in_their_stars(version, shown):
    """v1 asks nobody."""
    services = Services(ratings=ratings.build_application())
    program = reviews.build_application({**IDENTITY, "SERVICE_VERSION": version}, services.client)
    async with browse(program) as client:
        found = (await client.get("/reviews/0")).json()

    assert list(found) == ["id", "podname", "clustername", "reviews"]
    assert (found["id"], found["podname"], found["clustername"]) == ("0", "reviews-v2-pod", "cluster1")
    assert [review["reviewer"] for review in found["reviews"]] == ["Reviewer1", "Reviewer2"]
    assert all(review["text"] for review in found["reviews"])
    assert [review.get("rating") for review in found["reviews"]] == shown
    assert bool(services.requests) is (version != "v1")


@pytest.mark.parametrize(
    "answer",
    [
        503,
        404,
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("late"),
        httpx.Response(200, text="no JSON"),
        httpx.Response(200, json=[1]),
        httpx.Response(200, json={"ratings": 3}),
        httpx.Response(200, json={"ratings": {"Reviewer1": "five"}}),
    ],
    ids=str,
)
async def test_reviews_without_ratings_are_reviews_all_the_same(answer):
    """200, and each says that there are no stars to be had."""
    program = reviews.build_application({"SERVICE_VERSION": "v3"}, Services(ratings=answer).client)
    async with browse(program) as client:
        found = await client.get("/reviews/0")

    assert found.status_code == 200
    for review in found.json()["reviews"]:
        assert review["rating"] == {"error": "Ratings service is currently unavailable"}


async def test_reviews_are_numbered():
    """Other paths are no reviews."""
    async with browse(reviews.build_application({}, Services().client)) as client:
        assert (await client.get("/reviews/x")).status_code == 404
        assert (await client.get("/reviews/" + "9" * 5000)).status_code == 404
        assert (await client.get("/health")).json() == {"status": "Reviews is healthy"}


async def test_the_api_of_the_product_page():
    """A list of books, and of each what the services say."""
    client, *_ = bookinfo(ratings=ratings.build_application())
    async with client:
        (book,) = (await client.get("/api/v1/products")).json()
        assert list(book) == ["id", "title", "descriptionHtml"]
        assert (await client.get("/api/v1/products/0")).json()["ISBN-10"] == "1234567890"
        assert (await client.get("/api/v1/products/0/reviews")).json()["reviews"][0]["rating"]["stars"] == 5
        assert (await client.get("/api/v1/products/0/ratings")).json() == {
            "id": 0,
            "ratings": {"Reviewer1": 5, "Reviewer2": 4},
        }
        assert (await client.get("/health")).text == "Product page is healthy"


@pytest.mark.parametrize(
    ("path", "changed", "status"),
    [
        ("/api/v1/products/x", {}, 400),
        ("/api/v1/products/0", {"details": 401}, 401),
        ("/api/v1/products/0/reviews", {"reviews": 503}, 503),
        ("/api/v1/products/0/reviews", {"reviews": httpx.ReadTimeout("late")}, 500),
        ("/api/v1/products/0/ratings", {"ratings": httpx.Response(200, text="<html>")}, 500),
        ("/api/v1/products/..%2F..%2Fhealth", {}, 404),
    ],
)
async def test_the_api_passes_on_why_there_is_no_answer(path, changed, status):
    """The upstream's status, or 500 where there was none, with an error as JSON."""
    client, *_ = bookinfo(**changed)
    async with client:
        found = await client.get(path)

    assert found.status_code == status
    if status != 404:
        assert list(found.json()) == ["error"]


class _Page(HTMLParser):
    """What people see of a page, and that its elements are closed as they were opened."""

    def __init__(self, text):
        super().__init__()
        self.open = []
        self.shown = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in {"meta", "link", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.shown.append(data)


async def test_the_page_shows_a_book():
    """Details, reviews with stars, and which Pod of which cluster wrote them."""
    client, *_ = bookinfo("v3")
    async with client:
        found = await client.get("/productpage")
        style = await client.get("/static/bookinfo.css")

    assert found.headers["content-type"].startswith("text/html")
    shown = " ".join(_Page(found.text).shown)
    for words in ("The Comedy of Errors", "paperback", "★★★★★", "★★★★☆", "Reviews by reviews-v2-pod, cluster cluster1"):
        assert words in shown
    assert found.text.count("color: red") == 2
    assert 'href="/static/bookinfo.css"' in found.text
    assert style.headers["content-type"].startswith("text/css")


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({"details": 503}, ["details"]),
        ({"reviews": 403}, ["reviews"]),
        ({"details": 1, "reviews": 1}, ["details", "reviews"]),
    ],
)
async def test_the_page_says_what_is_missing(changed, missing):
    """And shows the rest, with 200."""
    client, *_ = bookinfo(
        **{name: httpx.ConnectError("refused") if code == 1 else code for name, code in changed.items()}
    )
    async with client:
        found = await client.get("/productpage")

    assert found.status_code == 200
    assert re.findall(r"Product (\w+) are currently unavailable", found.text) == missing


async def test_the_page_says_that_stars_are_missing():
    """Reviews are shown without them."""
    client, *_ = bookinfo("v2", ratings=503)
    async with client:
        assert (await client.get("/productpage")).text.count("ratings are currently unavailable") == 2


async def test_what_services_say_is_text():
    """Nothing that they send becomes an element of the page."""
    evil = "<script>alert(1)</script>"
    review = {"reviewer": evil, "text": evil, "rating": {"stars": 99, "color": f'"{evil}'}}
    answers = {
        "details": httpx.Response(200, json={"author": evil, "year": [evil]}),
        "reviews": httpx.Response(200, json={"podname": evil, "clustername": evil, "reviews": [review, 3, {}]}),
    }
    client, *_ = bookinfo(**answers)
    async with client:
        page = (await client.get("/productpage")).text

    assert "<script" not in page
    _Page(page)


async def test_reviews_are_asked_for_twice_and_details_once():
    """As the sample does, which is what its lesson about delays is about."""
    client, services, _ = bookinfo(details=503, reviews=503)
    async with client:
        await client.get("/productpage")

    assert (len(services.asked("details")), len(services.asked("reviews"))) == (1, 2)


async def test_headers_go_on_through_all_services():
    """Who asks and of which trace; not what belongs to one hop."""
    headers = {
        "x-request-id": "7",
        "authorization": "Bearer token",
        "jwt": "token",
        "end-user": "jason",
        "traceparent": "00-1-1-01",
        "x-b3-traceid": "b3",
        "user-agent": "tester",
        "x-other": "stays",
    }
    client, services, backends = bookinfo("v2")
    async with client:
        await client.get("/productpage", headers=headers)

    for request in (*services.requests, *backends.requests):
        assert {name: request.headers.get(name) for name in headers} == {**headers, "x-other": None}
    assert len(services.requests) == 2
    assert len(backends.requests) == 1


async def test_who_has_signed_in_is_the_end_user():
    """Also where the client says to be another one; after signing out, nobody is."""
    client, services, _ = bookinfo()
    async with client:
        into = await client.post("/login", data={"username": "jason"})
        page = await client.get("/productpage", headers={"end-user": "other"})
        await client.get("/logout")
        last = await client.get("/productpage")

    assert (into.status_code, into.headers["location"]) == (303, "/productpage")
    assert "jason (" in page.text
    assert "Sign in" in last.text
    sent = [request.headers.get_list("end-user") for request in services.asked("details")]
    assert sent == [["jason"], []]


@pytest.mark.parametrize("username", ["", "a b", "x" * 65, "é", "a\r\nx-evil: 1", "<b>"])
async def test_a_name_that_is_none_is_refused(username):
    """It would be a header."""
    client, *_ = bookinfo()
    async with client:
        assert (await client.post("/login", data={"username": username})).status_code == 400


async def test_a_forged_cookie_names_nobody():
    """What could not have been signed in with is not sent on."""
    client, services, _ = bookinfo()
    async with client:
        await client.get("/productpage", headers={"cookie": 'bookinfo-user="a b"'})

    assert [request.headers.get("end-user") for request in services.asked("details")] == [None]


async def test_the_first_page_leads_to_the_second():
    """And names the services that are asked."""
    client, *_ = bookinfo()
    async with client:
        for path in ("/", "/index.html"):
            page = (await client.get(path)).text
            assert 'href="/productpage"' in page
            assert "reviews:9080" in " ".join(_Page(page).shown)


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, "details:9080"),
        ({"DETAILS_HOSTNAME": "details.bookinfo-backends"}, "details.bookinfo-backends:9080"),
        ({"SERVICES_DOMAIN": "bookinfo.svc"}, "details.bookinfo.svc:9080"),
        ({"DETAILS_HOSTNAME": "d", "SERVICES_DOMAIN": "x", "DETAILS_SERVICE_PORT": "80"}, "d.x:80"),
    ],
)
def test_services_are_found_by_the_samples_variables(environment, address):
    """Host, domain and port."""
    assert upstream_address("details", environment) == address


async def test_the_client_remembers_no_cookies():
    """What a service sets for one user must not be sent for the next."""
    async with make_client() as client:
        request = httpx.Request("GET", "http://details:9080/")
        client.cookies.extract_cookies(httpx.Response(200, headers={"set-cookie": "a=b"}, request=request))

        assert isinstance(client.cookies.jar, http.cookiejar.CookieJar)
        assert list(client.cookies.jar) == []

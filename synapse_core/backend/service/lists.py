"""Lists over HTTP: filters out of a query, a page of records, and where the next one is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from fastapi import Request, Response
from starlette.datastructures import QueryParams

from synapse_core.backend.protocol import PAGE_SIZE, Filters, Listing
from synapse_core.backend.service.answers import json_answer
from synapse_core.errors import BackendRejected

MOST_PAGE_SIZE = 1000
_PAGING = ("page_size", "after", "offset")


def page_of(request: Request, listed: Callable[..., Listing[Any]], *of: object) -> Response:
    """Answer with one page of a list: `{count, next, previous, results}`.

    Pages follow each other by the last record's id where the list can go on behind one, else by number. The
    count of such a list is that of the first page: how many there are from `after` on.
    """
    query = request.query_params
    page_size = _number(query, "page_size", PAGE_SIZE)
    if not 1 <= page_size <= MOST_PAGE_SIZE:
        raise BackendRejected(f"A page_size of {page_size} is not between 1 and {MOST_PAGE_SIZE}.")
    takes = inspect.signature(listed).parameters
    arguments: dict[str, Any] = {}
    filters = filters_of(query)
    if "filters" in takes:
        arguments["filters"] = filters
    elif filters:
        raise BackendRejected(f"This list has no filters; {', '.join(sorted(filters))} cannot be asked for.")
    offset = 0
    if "after" in takes:
        arguments["after"] = _number(query, "after", None)
    else:
        offset = _number(query, "offset", 0)
    found = listed(*of, **arguments)
    results = list(islice(found, offset, offset + page_size))
    following = None
    if offset + len(results) < found.count and len(results) == page_size:
        behind = {"after": results[-1].id} if "after" in takes else {"offset": offset + page_size}
        # Who asked with a query too long for an address asks for the next page in the same way.
        is_long = request.scope.get("long_query", False)
        url = request.url.replace(query=f"page_size={page_size}") if is_long else request.url
        following = str(url.include_query_params(**behind))
    return json_answer({"count": found.count, "next": following, "previous": None, "results": results})


def filters_of(query: QueryParams) -> Filters:
    """Return filters as `Backend` takes them. A name that is there several times has a list of values."""
    filters: dict[str, Any] = {}
    for name in dict.fromkeys(query):
        if name in _PAGING:
            continue
        values: Iterable[Any] = query.getlist(name)
        field, _, word = name.rpartition("__")
        if word == "isnull" and field:
            filters[field] = [*filters.get(field, []), None]
        elif word == "in" and field:
            filters.setdefault(field, [])
        else:
            filters[name] = [*filters.get(name, []), *values]
    return filters


def _number(query: QueryParams, name: str, default: Any) -> Any:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise BackendRejected(f"{name} is {text[:40]!r}; it has to be a whole number.")
    return int(text)

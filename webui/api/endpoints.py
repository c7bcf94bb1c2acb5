"""Views for programs: authentication, accepted fields, and the format of errors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from core.errors import HarkError
from webui.api.authentication import Token
from webui.api.problems import in_words
from webui.http.errors import StatusError, problem, with_headers
from webui.http.parameters import is_page, json_object, whole_number

Shape = Callable[[HarkError, int], HttpResponse]  # converts an error and its status to a response


def endpoint(
    *methods: str,
    scopes: tuple[str, ...] = (),
    shape: Shape = problem,
    fields: Collection[str] = (),
    form: str = "",
) -> Callable[..., Any]:
    """Decorate a view for programs: authenticate the caller, check the fields, and convert errors to responses.

    Args:
      methods: accepted methods; GET includes HEAD.
      scopes: a token needs one of them; a browser needs its session and CSRF token. Without scopes, anyone may call.
      shape: converts an error to a response; problem details by default.
      fields: the only fields accepted in the body of a POST. Other fields, and a query, are rejected, because they
          would have no effect.
      form: the page whose form is sent here; a browser that reloads the URL or goes back is redirected to it.
    """
    allowed = [*methods, *(["HEAD"] if "GET" in methods else [])]

    def failed(request: HttpRequest, error: HarkError, status: int) -> HttpResponse:
        if shape is problem and is_page(request):
            return with_headers(error, render(request, "problem.html", {"problem": error}, status=status))
        return shape(error, status)

    def decorate(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @csrf_exempt  # Token checks it for a caller with a session
        @login_not_required
        @never_cache
        @wraps(view)
        def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.method not in allowed:
                if form and request.method == "GET" and is_page(request):
                    return redirect(form)
                why = f"This URL accepts {', '.join(methods)}, not {request.method}."
                response = failed(
                    request, HarkError("This request is not supported.", why, "See docs/compatibility.md."), 405
                )
                response["Allow"] = ", ".join(allowed)
                return response
            try:
                if scopes:
                    Token(*scopes)(request)
                if fields and request.method == "POST":
                    only_known(request.GET, ())
                    only_known(sent_names(request), fields)
                return view(request, *args, **kwargs)
            except Exception as error:
                return failed(request, *in_words(request, error))

        answered.scopes = scopes  # type: ignore[attr-defined]  # read by a test
        answered.shape = shape  # type: ignore[attr-defined]  # of a refusal before this is called: webui.accounts.rate_limits
        return answered

    return decorate


def wrong(what: str, why: str, what_to_do: str, status: int = 422) -> StatusError:
    return StatusError(status, what, why, what_to_do)


def number(request: HttpRequest, name: str, usual: int, maximum: int) -> int:
    """Return the integer ``name`` of the query; ``usual`` if it is missing.

    Raises StatusError if it is not an integer from 0 to ``maximum``.
    """
    text = request.GET.get(name, "")
    if not text:
        return usual
    value = whole_number(text)
    if value is None or value > maximum:
        raise wrong(
            "The request does not fit this URL.",
            f"{name} must be a whole number from 0 to {maximum:,}.",
            f"Leave {name} out, or send one.",
        )
    return value


def switch(sent: Mapping[str, Any], name: str, usual: bool) -> bool:
    """Return the boolean ``name`` of a form or of JSON; ``usual`` if it is missing.

    Raises StatusError if it is not a boolean.
    """
    text = str("" if sent.get(name) is None else sent[name]).strip().lower()
    if text in ("1", "true", "yes", "on"):
        return True
    if text in ("0", "false", "no", "off"):
        return False
    if text:
        raise wrong(f"{name} cannot be {text[:40]!r}.", "It must be yes or no.", "Send 1 or 0, or leave it out.")
    return usual


def only_known(names: Iterable[str], fields: Collection[str]) -> None:
    """Raise StatusError if a name is not among the fields."""
    if unknown := sorted(set(names).difference(fields, ["csrfmiddlewaretoken"])):
        raise wrong(
            f"The option {unknown[0][:40]!r} does not exist here.",
            "It would have no effect.",
            f"Leave it out; this URL takes {', '.join(fields) or 'nothing in its query'}.",
        )


def sent_names(request: HttpRequest) -> Iterable[str]:
    """Return the names of the fields of a form or of a JSON object in a request's body."""
    if request.content_type != "application/json":
        return [*request.POST, *request.FILES]
    try:
        return json_object(request.body)
    except ValueError:  # the view reports it
        return ()

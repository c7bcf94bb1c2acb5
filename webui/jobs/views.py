"""Pages of jobs: the list, one job, its events, cancel and retry."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from webui.accounts.signed_in import signed_in
from webui.http.parameters import page_asked_for, whole_number
from webui.jobs import services
from webui.jobs.models import Job
from webui.organizations.access import to_change, visible

PAGE = 25


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """List the user's jobs and those of objects shared with them, newest first."""
    jobs = Job.objects.visible_to(signed_in(request)).select_related("organization")
    return render(request, "jobs/index.html", {"page": page_asked_for(request, jobs, PAGE)})


@require_GET
def detail(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Show a job: its stages, curves and log. ``job.js`` updates them."""
    job = visible(Job.objects.select_related("organization", "version"), signed_in(request), id=job_id)
    version = getattr(job, "version", None)
    stages = services.stages_of(job.kind, job.spec)
    mine = job.user_id == signed_in(request).pk
    return render(request, "jobs/detail.html", {"job": job, "version": version, "stages": stages, "mine": mine})


@require_GET
def events(request: HttpRequest, job_id: UUID) -> JsonResponse:
    """Return the same data as the WebSocket, for pages that cannot connect to it: ``?after=N``."""
    visible(Job.objects.all(), signed_in(request), id=job_id)
    return JsonResponse(services.news(job_id, whole_number(request.GET.get("after")) or 0))


@require_GET
def over(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Trigger ``job-over`` on a page that waits for a job; 204 until the job has ended."""
    if visible(Job.objects.all(), signed_in(request), id=job_id).is_going:
        return HttpResponse(status=204)
    response = render(request, "jobs/over.html")
    response["HX-Trigger"] = "job-over"
    return response


@require_POST
def cancel(request: HttpRequest, job_id: UUID) -> HttpResponse:
    services.cancel(job=to_change(Job.objects.all(), signed_in(request), id=job_id))
    return redirect("jobs:detail", job_id)


@require_POST
def retry(request: HttpRequest, job_id: UUID) -> HttpResponse:
    services.retry(job=to_change(Job.objects.all(), signed_in(request), id=job_id))
    return redirect("jobs:detail", job_id)

"""URLs of detectors, from the phrase to the download."""

from __future__ import annotations

from django.urls import path

from webui.trainer import device_views, result_views, views

app_name = "trainer"
urlpatterns = [
    path("new", views.new, name="new"),
    path("new/advice", views.advice, name="advice"),
    path("plans/<uuid:job_id>", views.plan, name="plan"),
    path("start", views.start, name="start"),
    path("speak", views.speak, name="speak"),
    path("jobs/<uuid:job_id>/samples", views.samples, name="samples"),
    path("engines", views.engines, name="engines"),
    path("engines/models/<str:kind>/pull", views.pull_model, name="pull_model"),
    path("engines/<str:engine>/enable", views.enable, name="enable"),
    path("engines/<str:engine>/pull", views.pull, name="pull"),
    path("detectors/<int:detector_id>", result_views.detector, name="detector"),
    path("detectors/<int:detector_id>/compare", result_views.compare, name="compare"),
    path("detectors/<int:detector_id>/delete", result_views.delete, name="delete"),
    path("detectors/<int:detector_id>/<int:number>", result_views.version, name="version"),
    path("detectors/<int:detector_id>/<int:number>/retrain", result_views.retrain, name="retrain"),
    path("detectors/<int:detector_id>/<int:number>/make-current", result_views.make_current, name="make_current"),
    path("detectors/<int:detector_id>/<int:number>/note", result_views.note, name="note"),
    path("detectors/<int:detector_id>/<int:number>/delete", result_views.delete_version, name="delete_version"),
    path("detectors/<int:detector_id>/<int:number>/use", result_views.use, name="use"),
    path("detectors/<int:detector_id>/<int:number>/address", device_views.address, name="address"),
    path("detectors/<int:detector_id>/<int:number>/bundle", result_views.bundle, name="bundle"),
    path("detectors/<int:detector_id>/<int:number>/files/<str:name>", result_views.file, name="file"),
    path(
        "models/<int:detector_id>/<int:number>/<str:key>/<str:device>/<str:name>",
        device_views.device_file,
        name="device_file",
    ),
]

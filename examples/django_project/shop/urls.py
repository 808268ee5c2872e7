"""Where the views are."""

from __future__ import annotations

from django.urls import path

from . import views

urlpatterns = [
    path("restock", views.restock),
    path("order/<str:name>", views.order),
    path("tagged/<str:tag>", views.tagged),
    path("report", views.report),
    path("async", views.asynchronous),
    path("driver", views.driver),
]

"""The views."""

from __future__ import annotations

import json

import psycopg.pq
from django.db import connection, transaction
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, JsonResponse

from .models import Order, Product


def restock(request: HttpRequest) -> HttpResponse:
    """Add a product, or more of it."""
    given = json.loads(request.body)
    product, new = Product.objects.get_or_create(name=given["name"], defaults={"tags": given["tags"]})
    with transaction.atomic():
        product = Product.objects.select_for_update().get(pk=product.pk)
        product.stock += given["stock"]
        product.details = {"restocked": True}
        product.sizes = (1, 5)
        product.save()
    return JsonResponse({"stock": product.stock, "new": new})


def order(request: HttpRequest, name: str) -> HttpResponse:
    """Sell one, if there is one: the row is locked meanwhile."""
    with transaction.atomic():
        product = Product.objects.select_for_update().get(name=name)
        if not product.stock:
            return HttpResponse("sold out", status=409)
        product.stock -= 1
        product.save(update_fields=["stock"])
        Order.objects.create(product=product)
    return HttpResponse(status=201)


def tagged(request: HttpRequest, tag: str) -> HttpResponse:
    """The products with a tag, by the index on the array."""
    found = Product.objects.filter(tags__contains=[tag], sizes__contains=3, details__restocked=True)
    return JsonResponse({"products": [[each.name, each.tags, each.stock] for each in found]})


def report(request: HttpRequest) -> HttpResponse:
    """How many were sold, read by a cursor on the server."""
    counted = Product.objects.annotate(sold=Count("orders")).order_by("name")
    return JsonResponse({each.name: each.sold for each in counted.iterator(chunk_size=1)})


async def asynchronous(request: HttpRequest) -> HttpResponse:
    """The same from async code."""
    return JsonResponse({"products": [each.name async for each in Product.objects.order_by("name")]})


def driver(request: HttpRequest) -> HttpResponse:
    """What this runs on."""
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from shop_product")
        count = cursor.fetchone()[0]
    return JsonResponse({"module": psycopg.pq.PGconn.__module__.partition(".")[0], "count": count})

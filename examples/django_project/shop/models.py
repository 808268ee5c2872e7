"""What the shop has."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField, IntegerRangeField
from django.contrib.postgres.indexes import GinIndex
from django.db import models


class Product(models.Model):
    """Something to sell."""

    name = models.TextField(unique=True)
    tags = ArrayField(models.TextField(), default=list)
    sizes = IntegerRangeField(null=True)
    details = models.JSONField(default=dict)
    stock = models.IntegerField(default=0)

    class Meta:
        """The rules that the database keeps."""

        indexes = (GinIndex(fields=["tags"], name="product_tags"),)
        constraints = (models.CheckConstraint(condition=models.Q(stock__gte=0), name="stock_is_there"),)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """Something that was sold."""

    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="orders")
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.product} at {self.at}"

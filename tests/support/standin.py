"""Stand-ins for types of extensions that the tests' servers do not have."""

from __future__ import annotations

__all__ = ["GEOMETRY"]

GEOMETRY = """
create type geometry;
create function geometry_in(cstring) returns geometry language internal immutable strict as 'byteain';
create function geometry_out(geometry) returns cstring language internal immutable strict as 'byteaout';
create function geometry_recv(internal) returns geometry language internal immutable strict as 'bytearecv';
create function geometry_send(geometry) returns bytea language internal immutable strict as 'byteasend';
create type geometry (
    input = geometry_in, output = geometry_out, receive = geometry_recv, send = geometry_send,
    storage = extended
);
"""
"""A base type `geometry`, whose binary form is any bytes: PostGIS's is EWKB."""

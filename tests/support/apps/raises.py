"""Raises while it is imported."""


def connect():
    raise RuntimeError("the database is not there")


connect()

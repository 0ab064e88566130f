"""Mistral's REST API v2: routes, views and the way from errors to HTTP statuses.

A request is parsed and checked here, once, and answered in Mistral's JSON; the services do the work. May import
``services`` and everything below; never ``adapters``.
"""

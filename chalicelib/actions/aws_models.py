"""botocore's service models, read in bounds: which services and operations exist, and what an operation takes.

Names are cheap (the operations of a service are read from its model without the shapes) and are kept for all
services. Whole models are large; only the last few are kept.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

from botocore import xform_name
from botocore.exceptions import DataNotFoundError, UnknownServiceError
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel
from botocore.waiter import SingleWaiterConfig, WaiterModel

from chalicelib.limits import AWS_MODELS_CACHED_MAX

_OPERATIONS: Final = re.compile(r'"operations"\s*:\s*')
# A service's model is kept under two keys, its rules and paginators under two each.
_LOADED_ENTRIES_MAX: Final = AWS_MODELS_CACHED_MAX * 2


class _BoundedCache(dict[Any, Any]):
    """A cache for botocore's loader, which would keep every model it ever read; the oldest one makes room."""

    def __setitem__(self, key: Any, value: Any) -> None:
        loaded = [known for known in self if known[0].startswith("load_")]
        for known in loaded[: max(len(loaded) - _LOADED_ENTRIES_MAX + 1, 0)]:
            del self[known]
        super().__setitem__(key, value)


class _SharedLoader(Loader):  # type: ignore[misc]
    """botocore's loader for many threads: its cache asks first and reads then, and entries go."""

    def __init__(self) -> None:
        super().__init__()
        self._cache = _BoundedCache()
        self._lock = threading.RLock()

    def load_service_model(self, *args: Any, **options: Any) -> Any:
        with self._lock:
            return super().load_service_model(*args, **options)

    def load_data_with_path(self, *args: Any, **options: Any) -> Any:
        with self._lock:
            return super().load_data_with_path(*args, **options)


class AwsModels:
    """What botocore knows of AWS."""

    def __init__(self) -> None:
        self.loader = _SharedLoader()
        self._model = lru_cache(maxsize=AWS_MODELS_CACHED_MAX)(self._read_model)
        # Bounded by the number of services.
        self._operations = lru_cache(maxsize=None)(self._read_operations)
        self._waiters = lru_cache(maxsize=None)(self._read_waiters)

    @cached_property
    def services(self) -> tuple[str, ...]:
        """boto3's names of all services, in the order of ``<name>.``."""
        return tuple(sorted(self.loader.list_available_services("service-2"), key=lambda name: f"{name}."))

    def operations(self, service: str) -> dict[str, str]:
        """AWS's operation names by their names in snake case, sorted; empty for an unknown service."""
        return self._operations(service) if service in self.services else {}

    def operation(self, service: str, name: str) -> OperationModel | None:
        """The model of an operation by its name in snake case."""
        wire_name = self.operations(service).get(name)
        return None if wire_name is None else self._model(service).operation_model(wire_name)

    def waiters(self, service: str) -> dict[str, str]:
        """botocore's names of the waiters of a service by the names of their actions, sorted; none for most."""
        return self._waiters(service) if service in self.services else {}

    def waiter(self, service: str, name: str) -> SingleWaiterConfig | None:
        """A waiter by the name of its action."""
        known = self.waiters(service).get(name)
        if known is None:
            return None
        return WaiterModel(self.loader.load_service_model(service, "waiters-2")).get_waiter(known)

    def can_paginate(self, service: str, wire_name: str) -> bool:
        """Whether botocore knows how to fetch all pages of an operation."""
        try:
            return wire_name in self.loader.load_service_model(service, "paginators-1")["pagination"]
        except (UnknownServiceError, DataNotFoundError):
            return False

    def _read_model(self, service: str) -> ServiceModel:
        return ServiceModel(self.loader.load_service_model(service, "service-2"), service_name=service)

    def _read_operations(self, service: str) -> dict[str, str]:
        text = self._model_text(service)
        found = _OPERATIONS.search(text)
        try:
            wire_names = list(json.JSONDecoder().raw_decode(text, found.end())[0]) if found else []
        except ValueError:
            wire_names = []
        if not wire_names:
            wire_names = list(self.loader.load_service_model(service, "service-2")["operations"])
        return dict(sorted((xform_name(wire_name), wire_name) for wire_name in wire_names))

    def _read_waiters(self, service: str) -> dict[str, str]:
        try:
            names = self.loader.load_service_model(service, "waiters-2")["waiters"]
        except (UnknownServiceError, DataNotFoundError):
            return {}
        return dict(sorted((f"wait_{xform_name(name)}", name) for name in names))

    def _model_text(self, service: str) -> str:
        version = self.loader.determine_latest_version(service, "service-2")
        for folder in self.loader.search_paths:
            path = Path(folder, service, version, "service-2.json")
            packed = path.with_name("service-2.json.gz")
            if path.is_file():
                return path.read_text(encoding="utf-8")
            if packed.is_file():
                return gzip.decompress(packed.read_bytes()).decode("utf-8")
        return ""

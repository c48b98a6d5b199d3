"""What an informer knows: one small view of each object, found by what it belongs to."""

import threading
from dataclasses import dataclass, field
from typing import Generic, TypeVar

View = TypeVar("View")


@dataclass(frozen=True, kw_only=True, order=True)
class ObjectKey:
    """The place of an object."""

    namespace: str
    name: str


@dataclass
class Views(Generic[View]):
    """Views by place and by owner. Thread-safe; views are values, so what is handed out never changes."""

    _guard: threading.Lock = field(default_factory=threading.Lock)
    _views: dict[ObjectKey, tuple[str, View]] = field(default_factory=dict)
    _owned: dict[str, dict[ObjectKey, View]] = field(default_factory=dict)

    def put(self, key: ObjectKey, owner: str, view: View) -> View | None:
        """Store a view; return the one it replaces."""
        with self._guard:
            old = self._take(key)
            self._views[key] = (owner, view)
            self._owned.setdefault(owner, {})[key] = view
            return old

    def remove(self, key: ObjectKey) -> View | None:
        """Drop a view and return it; None when there was none."""
        with self._guard:
            return self._take(key)

    def get(self, key: ObjectKey) -> View | None:
        """Return the view of the object at a place."""
        with self._guard:
            _, view = self._views.get(key, ("", None))
            return view

    def owned(self, owner: str) -> tuple[View, ...]:
        """Return the views of the objects that belong to `owner`, by name."""
        with self._guard:
            mine = self._owned.get(owner, {})
            return tuple(mine[key] for key in sorted(mine))

    def keys(self, namespace: str | None) -> set[ObjectKey]:
        """Return the places that are known in a namespace, or in all."""
        with self._guard:
            return {key for key in self._views if namespace in {None, key.namespace}}

    def __len__(self) -> int:
        """Return how many objects are known."""
        with self._guard:
            return len(self._views)

    def _take(self, key: ObjectKey) -> View | None:
        if key not in self._views:
            return None
        owner, view = self._views.pop(key)
        mine = self._owned[owner]
        del mine[key]
        if not mine:
            del self._owned[owner]
        return view

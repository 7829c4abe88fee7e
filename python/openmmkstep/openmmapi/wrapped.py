"""What the Python faces of C++ objects have in common: casting and copying."""

from __future__ import annotations

from typing import Any, Self


class Wrapped:
    """Base of classes whose objects OpenMM hands back as plain ``Force`` or ``Integrator``.

    OpenMM's Python layer does not know the classes of plugins: what comes out of a System, a Context or an XML file has
    lost its class, and `cast` gives it back.
    """

    @staticmethod
    def _is_instance(wrapped: Any) -> bool:
        """Whether the C++ object behind a wrapper is of the class that this one stands for."""
        # Abstract without ABC, whose metaclass does not go with SWIG's: every class that derives has its own.
        raise NotImplementedError

    @classmethod
    def cast(cls, wrapped: Any) -> Self:
        """Give an object that OpenMM returned (from a System, a Context or a file) this class again.

        Raises:
            TypeError: it is of another class.
        """
        if not cls._is_instance(wrapped):
            raise TypeError(f"expected a {cls.__name__}, not {type(wrapped).__name__}")
        wrapped.__class__ = cls
        return wrapped

    @classmethod
    def isInstance(cls, wrapped: Any) -> bool:
        """Whether an object is one of this class, whatever class OpenMM gave it."""
        return cls._is_instance(wrapped)

    def __copy__(self) -> Self:
        return self.cast(super().__copy__())  # type: ignore[misc]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.cast(super().__copy__())  # type: ignore[misc]

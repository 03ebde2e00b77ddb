"""Plain values as tagged JSON and back, on both sides of the sandbox. Standard library only.

A value counts as the built-in type it is or derives from (a named tuple is a tuple, an IntEnum an integer), read
through that type's own methods. Any other value is sent as the name of its type and equals nothing.
"""

import collections
from collections import Counter
from decimal import Decimal
from fractions import Fraction

CONTAINERS = {kind.__name__: kind for kind in (list, tuple, set, frozenset, collections.deque)}
MAX_DEPTH = 200
MAX_HASHED = 20_000
MAX_COLLIDING = 1000
"""If a set or dict has more than MAX_HASHED entries, this many may share one hash: programs can make hashes collide."""
MAX_RATIO_DIGITS = 10_000
"""Most hexadecimal digits of a fraction's numerator and denominator: reducing it takes time."""


class Other(str):
    """Stand-in for a value that has no tag: the name of its type."""


def encode(value, depth: int = 0):
    """A value as tagged JSON. RecursionError beyond MAX_DEPTH."""
    if depth > MAX_DEPTH:
        raise RecursionError
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    base = next((base for base in type.__dict__["__mro__"].__get__(kind) if base in ENCODERS), None)
    if base is not None:
        return ENCODERS[base](value, depth + 1)
    if type.__getattribute__(kind, "__module__") == "numpy" and getattr(value, "shape", None) == ():
        return encode(value.item(), depth + 1)
    return {"other": str(type.__getattribute__(kind, "__name__"))[:100]}


def _integer(value: int, _) -> dict:
    return {"int": hex(int.__index__(value))}


def _float(value: float, _) -> dict:
    return {"float": float.hex(value)}


def _text(value: str, _) -> str:
    return str.__str__(value)


def _bytes(value: bytes, _) -> dict:
    return {"bytes": bytes.hex(value)}


def _complex(value: complex, _) -> dict:
    return {"complex": [complex.real.__get__(value).hex(), complex.imag.__get__(value).hex()]}


def _dict(value: dict, depth: int) -> dict:
    return {"dict": [[encode(key, depth), encode(item, depth)] for key, item in dict.items(value)]}


def _container(kind: type):
    def encoder(value, depth: int) -> dict:
        return {kind.__name__: [encode(item, depth) for item in kind.__iter__(value)]}

    return encoder


def _other(value: Other, _) -> dict:
    return {"other": str.__str__(value)}


def _fraction(value: Fraction, _) -> dict:
    return {"fraction": [hex(value.numerator), hex(value.denominator)]}


def _decimal(value: Decimal, _) -> dict:
    if not value.is_finite():
        return {"float": float(value).hex()}
    if abs(value.adjusted()) > MAX_RATIO_DIGITS:
        return {"other": "Decimal"}
    return _fraction(Fraction(*value.as_integer_ratio()), _)


ENCODERS = {int: _integer, float: _float, str: _text, bytes: _bytes, complex: _complex, dict: _dict}
ENCODERS |= {kind: _container(kind) for kind in CONTAINERS.values()} | {Fraction: _fraction, Decimal: _decimal}
ENCODERS[Other] = _other


def decode(value):
    """The value of tagged JSON. Raises errors of many types for input that `encode` did not write."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "int":
        return int(content, 16)
    if kind == "float":
        return float.fromhex(content)
    if kind == "complex":
        return complex(*map(float.fromhex, content))
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "fraction":
        return _read_fraction(*content)
    if kind == "other":
        return Other(content)
    if kind == "dict":
        entries = [(decode(key), decode(item)) for key, item in content]
        _check_hashes(key for key, _ in entries)
        return dict(entries)
    entries = list(map(decode, content))
    if kind in ("set", "frozenset"):
        _check_hashes(entries)
    return CONTAINERS[kind](entries)


def _read_fraction(numerator: str, denominator: str) -> Fraction:
    if max(len(numerator), len(denominator)) > MAX_RATIO_DIGITS:
        raise ValueError("a fraction too long to be brought to lowest terms")
    return Fraction(int(numerator, 16), int(denominator, 16))


def _check_hashes(keys) -> None:
    """Raise ValueError if so many share a hash that building a table of them would take long."""
    hashes = list(map(hash, keys))
    if len(hashes) > MAX_HASHED and Counter(hashes).most_common(1)[0][1] > MAX_COLLIDING:
        raise ValueError(f"{len(hashes)} entries, too many of them with one hash")

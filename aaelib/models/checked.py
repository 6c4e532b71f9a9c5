"""Dataclasses whose entries are checked."""

import dataclasses
import functools
import reprlib

import pydantic
import pydantic.dataclasses

_CONFIG = {"extra": "forbid", "coerce_numbers_to_str": True, "arbitrary_types_allowed": True}


def checked(cls):
    """
    Make a frozen dataclass whose entries pydantic reads by their types.

    An entry that is refused is a ValueError of one sentence: its name, its value, what is accepted.
    """
    made = pydantic.dataclasses.dataclass(cls, frozen=True, config=_CONFIG)
    initialize = made.__init__

    @functools.wraps(initialize)
    def __init__(self, /, *args, **kwargs):
        try:
            initialize(self, *args, **kwargs)
        except pydantic.ValidationError as error:
            raise ValueError(_in_one_sentence(error.errors()[0], made)) from None

    made.__init__ = __init__
    return made


def _in_one_sentence(error, cls):
    """Say what pydantic found first."""
    said = error["msg"].removeprefix("Value error, ")
    if error["type"] == "unexpected_keyword_argument":
        said = f"no such entry; accepted: {[field.name for field in dataclasses.fields(cls)]}"
    if not error["loc"]:
        return said
    input_ = reprlib.repr(error["input"])  # whole, YAML's aliases can make it gigabytes of text
    return f"{'.'.join(map(str, error['loc']))} is {input_}: {said[0].lower()}{said[1:]}"

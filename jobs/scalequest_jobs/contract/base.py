"""The base of every model of the spec: camelCase outside, nothing unknown accepted, values frozen."""

from typing import Annotated

import pydantic
from pydantic.alias_generators import to_camel

DnsLabel = Annotated[
    str, pydantic.Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", min_length=1, max_length=40)
]
"""A name that may stand in a Kubernetes object's name."""

ShortName = Annotated[
    str, pydantic.Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", min_length=1, max_length=16)
]
"""A generator's name: short, because it stands in the names of its stages' Jobs."""

Key = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9._=@+-]+(/[A-Za-z0-9._=@+-]+)*/?$", max_length=512)]
"""An object's key in the bucket, or a prefix of keys."""

VolumePath = Annotated[str, pydantic.Field(min_length=1, max_length=512, pattern=r"^[^\n]+$")]
"""A path on a mounted volume. `scalequest local` reads a relative one from the run file's folder."""

Share = Annotated[float, pydantic.Field(ge=0, le=1)]

ColumnName = Annotated[str, pydantic.Field(min_length=1, max_length=64)]


class SpecModel(pydantic.BaseModel):
    """A part of the spec."""

    model_config = pydantic.ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )
